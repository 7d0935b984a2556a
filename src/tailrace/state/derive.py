"""The one statement that makes runs: every hour in a destination's interval that has none gets one.

So does each hour that a manual export covers. It runs in the transaction of each hand-over and of
each change of a destination, so that a run that is owed can't be missing at any moment; `missing`
is the check that must find nothing. An hour of which the archive has dropped a file is owed to
nobody anew, but to who asks for it by hand.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.hours import Hour
from tailrace.state.delivery import AUTOMATIC, DataType
from tailrace.state.tables import (
    delivery,
    destination,
    manual_export,
    sealed_file,
    sealed_hour,
)


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
    found = _missing(since=since, destination_id=destination_id, export_id=None)
    return _insert(connection, found, now_micros)


def derive_manual(connection: Connection, export_id: int, *, now_micros: int) -> int:
    """Make the runs of a manual export that was just started, and return their number."""
    found = sa.union_all(*_missing_by_hand(None, None, export_id))
    return _insert(connection, found, now_micros)


def missing(connection: Connection, since: Hour | None = None) -> int:
    """Count the runs that are owed and have no row; anything but 0 is a defect."""
    rows = _missing(since=since, destination_id=None, export_id=None).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def _insert(connection: Connection, found: sa.CompoundSelect[tuple[int]], now_micros: int) -> int:
    rows = found.subquery()
    new = sa.select(
        rows.c.destination_id,
        rows.c.data_type,
        rows.c.hour,
        rows.c.manual_export,
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
        "manual_export",
        "scope",
        "state",
        "due_micros",
        "attempts",
        "lease",
        "created_micros",
    ]
    return connection.execute(delivery.insert().from_select(columns, new)).rowcount


def _missing(
    *, since: Hour | None, destination_id: int | None, export_id: int | None
) -> sa.CompoundSelect[tuple[int]]:
    return sa.union_all(
        _missing_of("events", since, destination_id),
        _missing_of("merged-ids", since, destination_id),
        *_missing_by_hand(since, destination_id, export_id),
    )


def hours_without_run(data_type: DataType, destination_id: int) -> sa.Select[tuple[int]]:
    """Select what a destination's interval covers and no automatic run stands for.

    Whatever the destination's state: of a paused one these are the hours that it misses.
    """
    return _without_run(data_type, None).where(destination.c.id == destination_id)


def _missing_of(
    data_type: DataType, since: Hour | None, destination_id: int | None
) -> sa.Select[tuple[int]]:
    statement = _without_run(data_type, since).where(destination.c.state == "active")
    if destination_id is not None:
        statement = statement.where(destination.c.id == destination_id)
    return statement


def _without_run(data_type: DataType, since: Hour | None) -> sa.Select[tuple[int]]:
    known = _known_hours(since)
    included: sa.ColumnElement[bool] = destination.c.include_events
    scope: sa.ColumnElement[int] = destination.c.project
    due: sa.ColumnElement[bool] = known.c.hour >= destination.c.from_hour
    # Where events were switched on later than the hour: no try would ever bring it.
    gone: sa.ColumnElement[bool] = is_dropped(known.c.scope, known.c.hour)
    if data_type == "merged-ids":
        included, scope = destination.c.include_merged_ids, -destination.c.organization
        due = sa.or_(due, known.c.hour >= _first_hour_with_merges())
        gone = sa.false()
    return (
        sa.select(
            destination.c.id.label("destination_id"),
            sa.literal(data_type).label("data_type"),
            known.c.hour.label("hour"),
            sa.literal(AUTOMATIC).label("manual_export"),
            known.c.scope.label("scope"),
        )
        .join(known, known.c.scope == scope)
        .where(
            included,
            destination.c.from_hour.is_not(None),
            due,
            sa.or_(destination.c.until_hour.is_(None), known.c.hour < destination.c.until_hour),
            ~sa.exists().where(
                delivery.c.destination_id == destination.c.id,
                delivery.c.data_type == data_type,
                delivery.c.hour == known.c.hour,
                delivery.c.manual_export == AUTOMATIC,
            ),
            ~gone,
        )
    )


def _missing_by_hand(
    since: Hour | None, destination_id: int | None, export_id: int | None
) -> list[sa.Select[tuple[int]]]:
    """Select the runs that manual exports lack: of the hours that were sealed at their start."""
    events = destination.c.project, manual_export.c.events_until
    merged_ids = -destination.c.organization, manual_export.c.merged_ids_until
    return [
        _missing_by_hand_of(data_type, scope, until, since, destination_id, export_id)
        for data_type, (scope, until) in (("events", events), ("merged-ids", merged_ids))
    ]


def _missing_by_hand_of(
    data_type: str,
    scope: sa.ColumnElement[int],
    until: sa.ColumnElement[int],
    since: Hour | None,
    destination_id: int | None,
    export_id: int | None,
) -> sa.Select[tuple[int]]:
    statement = (
        sa.select(
            destination.c.id.label("destination_id"),
            sa.literal(data_type).label("data_type"),
            sealed_hour.c.hour.label("hour"),
            manual_export.c.id.label("manual_export"),
            sealed_hour.c.scope.label("scope"),
        )
        .select_from(manual_export)
        .join(destination, destination.c.id == manual_export.c.destination_id)
        .join(
            sealed_hour,
            sa.and_(
                sealed_hour.c.scope == scope,
                sealed_hour.c.hour >= manual_export.c.from_hour,
                sealed_hour.c.hour < until,
            ),
        )
        .where(
            manual_export.c.state.in_(("running", "paused")),
            ~sa.exists().where(
                delivery.c.destination_id == destination.c.id,
                delivery.c.data_type == data_type,
                delivery.c.hour == sealed_hour.c.hour,
                delivery.c.manual_export == manual_export.c.id,
            ),
        )
    )
    if since is not None:
        statement = statement.where(sealed_hour.c.hour >= since.number)
    if destination_id is not None:
        statement = statement.where(destination.c.id == destination_id)
    if export_id is not None:
        statement = statement.where(manual_export.c.id == export_id)
    return statement


def is_dropped(scope: sa.ColumnElement[int], hour: sa.ColumnElement[int]) -> sa.Exists:
    """Return whether the archive has dropped a file of an hour, so that it can't be put whole."""
    # Under a name of its own: the caller may be asking of a file of the hour.
    of_hour = sealed_file.alias()
    return sa.exists().where(
        of_hour.c.scope == scope,
        of_hour.c.hour == hour,
        of_hour.c.removed_micros.is_not(None),
    )


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
