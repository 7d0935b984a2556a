"""The one statement that makes runs: every hour in a destination's interval that has none gets one.

It runs in the transaction of each hand-over and of each change of a destination, so that a run
that is owed can't be missing at any moment; `missing` is the check that must find nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.hours import Hour
from tailrace.state.tables import delivery, destination, sealed_file, sealed_hour


def derive(
    connection: Connection,
    *,
    now_micros: int,
    since: Hour | None = None,
    destination_id: int | None = None,
) -> int:
    """Make the runs that are missing and return their number.

    `since` and `destination_id` narrow the search to what this transaction changed; all else was
    complete when it began.
    """
    rows = _missing(since=since, destination_id=destination_id).subquery()
    new = sa.select(
        rows.c.destination_id,
        rows.c.data_type,
        rows.c.hour,
        rows.c.scope,
        sa.literal("pending"),
        sa.literal(0),
        sa.literal(0),
        sa.literal(0),
        sa.literal(now_micros),
    )
    columns = [
        "destination_id",
        "data_type",
        "hour",
        "scope",
        "state",
        "due_micros",
        "attempts",
        "lease",
        "created_micros",
    ]
    return connection.execute(delivery.insert().from_select(columns, new)).rowcount


def missing(connection: Connection, since: Hour | None = None) -> int:
    """Count the runs that are owed and have no row; anything but 0 is a defect."""
    rows = _missing(since=since, destination_id=None).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def _missing(*, since: Hour | None, destination_id: int | None) -> sa.CompoundSelect[tuple[int]]:
    return sa.union_all(
        _missing_of("events", since, destination_id),
        _missing_of("merged-ids", since, destination_id),
    )


def _missing_of(
    data_type: str, since: Hour | None, destination_id: int | None
) -> sa.Select[tuple[int]]:
    known = _known_hours(since)
    included: sa.ColumnElement[bool] = destination.c.include_events
    scope: sa.ColumnElement[int] = destination.c.project
    due: sa.ColumnElement[bool] = known.c.hour >= destination.c.from_hour
    if data_type == "merged-ids":
        included, scope = destination.c.include_merged_ids, -destination.c.organization
        due = sa.or_(due, known.c.hour >= _first_hour_with_merges())
    statement = (
        sa.select(
            destination.c.id.label("destination_id"),
            sa.literal(data_type).label("data_type"),
            known.c.hour.label("hour"),
            known.c.scope.label("scope"),
        )
        .join(known, known.c.scope == scope)
        .where(
            destination.c.state == "active",
            included,
            destination.c.from_hour.is_not(None),
            due,
            sa.or_(destination.c.until_hour.is_(None), known.c.hour < destination.c.until_hour),
            ~sa.exists().where(
                delivery.c.destination_id == destination.c.id,
                delivery.c.data_type == data_type,
                delivery.c.hour == known.c.hour,
            ),
        )
    )
    if destination_id is not None:
        statement = statement.where(destination.c.id == destination_id)
    return statement


def _first_hour_with_merges() -> sa.ScalarSelect[int]:
    """Return the organization's first hour with a file of merged IDs.

    All merges are owed, also those from before the interval (D39), each as the file of its hour;
    with them the hours in between, because a chain of manifests with holes proves nothing.
    """
    return (
        sa.select(sa.func.min(sealed_file.c.hour))
        .where(sealed_file.c.scope == -destination.c.organization)
        .correlate(destination)
        .scalar_subquery()
    )


def _known_hours(since: Hour | None) -> sa.Subquery:
    """Return the hours that are sealed, and the open ones of which files are ready already."""
    sealed = sa.select(sealed_hour.c.scope, sealed_hour.c.hour)
    early = sa.select(sealed_file.c.scope, sealed_file.c.hour)
    if since is not None:
        sealed = sealed.where(sealed_hour.c.hour >= since.number)
        early = early.where(sealed_file.c.hour >= since.number)
    return sa.union(sealed, early).subquery()
