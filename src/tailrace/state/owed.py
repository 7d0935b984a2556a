"""What waits for a destination: the sealed hours that it is owed, and what is in them."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.hours import Hour
from tailrace.state.tables import delivery, sealed_file, sealed_hour


class Owed(msgspec.Struct, frozen=True):
    """Sealed hours that wait, manual exports included; `oldest` is None if there are none.

    `size_bytes` is that of their files, compressed. An hour of which files went out counts whole.
    """

    hours: int
    oldest: Hour | None
    events: int
    merged_ids: int
    size_bytes: int


def is_owed(connection: Connection, destination_id: int) -> bool:
    """Return whether any closed hour waits for a destination."""
    waits = sa.exists().where(
        delivery.c.destination_id == destination_id,
        delivery.c.finished_micros.is_(None),
        sealed_hour.c.scope == delivery.c.scope,
        sealed_hour.c.hour == delivery.c.hour,
    )
    return bool(connection.execute(sa.select(waits)).scalar_one())


def owed(connection: Connection, destination_id: int) -> Owed:
    """Return what waits for a destination, inside the caller's transaction."""
    waiting = (
        sa.select(delivery.c.scope, delivery.c.hour)
        .where(
            delivery.c.destination_id == destination_id,
            delivery.c.finished_micros.is_(None),
            sa.exists().where(
                sealed_hour.c.scope == delivery.c.scope, sealed_hour.c.hour == delivery.c.hour
            ),
        )
        .distinct()
        .subquery()
    )
    hours = sa.select(
        sa.func.count(sa.distinct(waiting.c.hour)).label("hours"),
        sa.func.min(waiting.c.hour).label("oldest"),
    )
    of_events = sa.case((sealed_file.c.scope > 0, sealed_file.c.lines), else_=0)
    of_merges = sa.case((sealed_file.c.scope < 0, sealed_file.c.lines), else_=0)
    files = (
        sa.select(
            sa.func.coalesce(sa.func.sum(of_events), 0).label("events"),
            sa.func.coalesce(sa.func.sum(of_merges), 0).label("merged_ids"),
            sa.func.coalesce(sa.func.sum(sealed_file.c.size_bytes), 0).label("size_bytes"),
        )
        .select_from(waiting)
        .join(
            sealed_file,
            sa.and_(sealed_file.c.scope == waiting.c.scope, sealed_file.c.hour == waiting.c.hour),
        )
    )
    counted, summed = connection.execute(hours).one(), connection.execute(files).one()
    return Owed(
        hours=int(counted.hours),
        oldest=None if counted.oldest is None else Hour(counted.oldest),
        events=int(summed.events),
        merged_ids=int(summed.merged_ids),
        size_bytes=int(summed.size_bytes),
    )
