"""The rows of outages: when access was refused and came back, and what is still to be mailed of it.

Each function works inside the caller's transaction, the one that changes the destination, so that
no outage can begin or end without its row.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.state.delivery import Cause
from tailrace.state.rows import cause_of, text_of
from tailrace.state.tables import delivery, outage


class Outage(msgspec.Struct, frozen=True):
    """Refused access of one destination. Times are the service's, in microseconds.

    `cause` is the newest that the owner of the bucket has to mend; once it is `probed` it names
    everything that is missing. `successes` is how many runs had succeeded when it ended.
    """

    id: int
    destination_id: int
    began_micros: int
    ended_micros: int | None
    successes: int | None
    cause: Cause
    probed: bool


def begin(connection: Connection, destination_id: int, cause: Cause, since_micros: int) -> None:
    """Add the row of an outage that begins.

    One that ended, but after which no run has succeeded, goes on instead: its probes passed and
    still nothing could be put, so that nobody was told that all is well.
    """
    before = connection.execute(
        sa.select(outage)
        .where(outage.c.destination_id == destination_id, outage.c.closed_micros.is_(None))
        .order_by(outage.c.id.desc())
        .limit(1)
    ).one_or_none()
    if before is not None and not is_well(connection, outage_of(before)):
        connection.execute(
            outage.update()
            .where(outage.c.id == before.id)
            .values(ended_micros=None, successes=None, cause=text_of(cause), probed=False)
        )
        return
    connection.execute(
        outage.insert().values(
            destination_id=destination_id,
            began_micros=since_micros,
            cause=text_of(cause),
            probed=False,
        )
    )


def go_on(connection: Connection, destination_id: int, cause: Cause) -> None:
    """Note what probes have found during an outage.

    A cause that is not the owner's to mend says nothing of the bucket; the last known one stays.
    """
    values: dict[str, Any] = {"probed": True}
    if cause.kind == "access":
        values["cause"] = text_of(cause)
    connection.execute(outage.update().where(_lasts(destination_id)).values(**values))


def end(connection: Connection, destination_id: int, ended_micros: int) -> None:
    """Note that access is back, or seems so."""
    connection.execute(
        outage.update()
        .where(_lasts(destination_id))
        .values(ended_micros=ended_micros, successes=_successes(connection, destination_id))
    )


def close_all(connection: Connection, destination_id: int, closed_micros: int) -> None:
    """Let nothing more be mailed of a destination's outages, because it is deleted."""
    connection.execute(
        outage.update()
        .where(outage.c.destination_id == destination_id, outage.c.closed_micros.is_(None))
        .values(
            closed_micros=closed_micros,
            ended_micros=sa.func.coalesce(outage.c.ended_micros, closed_micros),
        )
    )


def close(connection: Connection, outage_id: int, closed_micros: int) -> None:
    """Let nothing more be mailed of an outage."""
    connection.execute(
        outage.update().where(outage.c.id == outage_id).values(closed_micros=closed_micros)
    )


def open_outages(connection: Connection, limit: int) -> list[Outage]:
    """Return the outages of which there may be something to mail, oldest first."""
    statement = (
        sa.select(outage).where(outage.c.closed_micros.is_(None)).order_by(outage.c.id).limit(limit)
    )
    return [outage_of(row) for row in connection.execute(statement)]


def open_outage(connection: Connection, outage_id: int) -> Outage | None:
    """Return an outage, or None if there is nothing more to mail of it."""
    row = connection.execute(
        sa.select(outage).where(outage.c.id == outage_id, outage.c.closed_micros.is_(None))
    ).one_or_none()
    return None if row is None else outage_of(row)


def not_probed(connection: Connection, limit: int) -> list[int]:
    """Return the destinations of new outages whose missing actions nobody has looked for."""
    statement = (
        sa.select(outage.c.destination_id)
        .where(
            outage.c.closed_micros.is_(None),
            outage.c.ended_micros.is_(None),
            outage.c.probed.is_(sa.false()),
        )
        .order_by(outage.c.id)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def is_well(connection: Connection, found: Outage) -> bool:
    """Return whether the outage has ended and something was delivered since."""
    if found.ended_micros is None or found.successes is None:
        return False
    # Counted and not dated: a clock that is set back must not make the end come late.
    return _successes(connection, found.destination_id) > found.successes


def outage_of(row: sa.Row[Any]) -> Outage:
    """Return a row of `outage`."""
    cause = cause_of(row.cause)
    assert cause is not None
    return Outage(
        id=row.id,
        destination_id=row.destination_id,
        began_micros=row.began_micros,
        ended_micros=row.ended_micros,
        successes=row.successes,
        cause=cause,
        probed=bool(row.probed),
    )


def _successes(connection: Connection, destination_id: int) -> int:
    statement = sa.select(sa.func.count()).where(
        delivery.c.state == "success", delivery.c.destination_id == destination_id
    )
    return int(connection.execute(statement).scalar_one())


def _lasts(destination_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        outage.c.destination_id == destination_id,
        outage.c.ended_micros.is_(None),
        outage.c.closed_micros.is_(None),
    )
