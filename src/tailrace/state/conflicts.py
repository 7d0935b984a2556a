"""Runs that wait because other content lies where their files are to go; read for mails."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.state.delivery import AUTOMATIC
from tailrace.state.rows import cause_of, tries_of
from tailrace.state.tables import delivery, destination, manual_export

# A mail names no more: who looks at these finds the others.
KEYS_MAX = 5

# Of the runs that were begun last, one shows whether any met other content since a moment.
_NEWEST_MAX = 100


class InConflict(msgspec.Struct, frozen=True):
    """A destination's runs in conflict: how many, and the objects in the way of the oldest."""

    destination_id: int
    runs: int
    keys: tuple[str, ...]


def in_conflict(connection: Connection) -> list[int]:
    """Return the destinations with runs in conflict that wait for nothing else."""
    statement = _waiting(delivery.c.destination_id).distinct().order_by(delivery.c.destination_id)
    return list(connection.execute(statement).scalars())


def conflicts_of(connection: Connection, destination_id: int) -> InConflict:
    """Return what a destination's runs in conflict wait for."""
    own = delivery.c.destination_id == destination_id
    count = _waiting(sa.func.count()).where(own)
    oldest = (
        _waiting(delivery.c.cause)
        .where(own, delivery.c.cause.is_not(None))
        .order_by(delivery.c.hour, delivery.c.data_type, delivery.c.manual_export)
        .limit(KEYS_MAX)
    )
    causes = (cause_of(text) for text in connection.execute(oldest).scalars())
    keys = dict.fromkeys(cause.key for cause in causes if cause is not None and cause.key)
    return InConflict(destination_id, int(connection.execute(count).scalar_one()), tuple(keys))


def met_since(connection: Connection, destination_id: int, since_micros: int) -> bool:
    """Return whether a run of a destination came into conflict after a moment."""
    newest = (
        _waiting(delivery.c.tries)
        .where(delivery.c.destination_id == destination_id)
        .order_by(delivery.c.started_micros.desc())
        .limit(_NEWEST_MAX)
    )
    return any(
        one.outcome == "conflict" and (one.ended_micros or 0) > since_micros
        for text in connection.execute(newest).scalars()
        for one in tries_of(text)
    )


def _waiting(column: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select from the runs in conflict but for those that a person has paused besides."""
    goes_on = sa.or_(
        sa.and_(delivery.c.manual_export == AUTOMATIC, destination.c.state == "active"),
        manual_export.c.state == "running",
    )
    return (
        sa.select(column)
        .select_from(delivery)
        .join(destination, destination.c.id == delivery.c.destination_id)
        .outerjoin(manual_export, manual_export.c.id == delivery.c.manual_export)
        .where(delivery.c.state == "conflict", goes_on)
    )
