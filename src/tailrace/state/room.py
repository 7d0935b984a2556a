"""How fast the data folder's disk fills, by samples of its free bytes; and who was warned of it.

Sample times are the machine's, times of warnings the service's, in microseconds.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.clock import MICROS
from tailrace.state.tables import room_sample, warning

DAY_MICROS = 24 * 3600 * MICROS

# A day has no more than 144 of them.
SAMPLE_MICROS = 600 * MICROS


class Warned(msgspec.Struct, frozen=True):
    """Something that lasts and that was mailed of."""

    name: str
    since_micros: int
    mailed_micros: int


def add_sample(connection: Connection, now_micros: int, free_bytes: int) -> None:
    """Keep a sample, and forget those of another day; those of the future were a wrong clock's."""
    connection.execute(
        room_sample.delete().where(
            sa.or_(
                room_sample.c.at_micros < now_micros - DAY_MICROS,
                room_sample.c.at_micros >= now_micros,
            )
        )
    )
    connection.execute(room_sample.insert().values(at_micros=now_micros, free_bytes=free_bytes))


def sample_due(connection: Connection, now_micros: int) -> bool:
    """Return whether it is time for a sample."""
    newest = connection.execute(sa.select(sa.func.max(room_sample.c.at_micros))).scalar_one()
    return newest is None or not 0 <= now_micros - newest < SAMPLE_MICROS


def filled_in_a_day(connection: Connection, now_micros: int, free_bytes: int) -> int | None:
    """Return by how many bytes the disk has filled in the last 24 hours, negative if it emptied.

    In the first day, by how many since the first sample; None before there is one.
    """
    statement = (
        sa.select(room_sample.c.free_bytes)
        .where(
            room_sample.c.at_micros >= now_micros - DAY_MICROS,
            room_sample.c.at_micros <= now_micros,
        )
        .order_by(room_sample.c.at_micros)
        .limit(1)
    )
    first = connection.execute(statement).scalar_one_or_none()
    return None if first is None else int(first) - free_bytes


def warnings(connection: Connection) -> dict[str, Warned]:
    """Return what lasts and was mailed of, by name."""
    return {
        row.name: Warned(row.name, row.since_micros, row.mailed_micros)
        for row in connection.execute(sa.select(warning))
    }


def warn(connection: Connection, name: str, now_micros: int) -> None:
    """Note that something lasts and is mailed of now, inside the mail's transaction."""
    changed = connection.execute(
        warning.update().where(warning.c.name == name).values(mailed_micros=now_micros)
    )
    if changed.rowcount == 0:
        connection.execute(
            warning.insert().values(name=name, since_micros=now_micros, mailed_micros=now_micros)
        )


def over(connection: Connection, name: str) -> None:
    """Note that something no longer lasts."""
    connection.execute(warning.delete().where(warning.c.name == name))
