"""How fast the data folder's disk fills, by samples of its free bytes; and who was warned of it.

Sample times are the machine's, times of warnings the service's, in microseconds.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.clock import MICROS
from tailrace.state.tables import room_sample, warning

DAY_MICROS = 24 * 3600 * MICROS

# A day has no more than 144 of them.
SAMPLE_MICROS = 600 * MICROS

# Between samples further apart than this the service was stopped, or a clock was changed: they
# tell nothing of how fast it fills the disk.
WATCHED_MICROS = 3600 * MICROS


class Filled(msgspec.Struct, frozen=True):
    """By how many bytes the disk has filled, negative if it emptied, and in what time."""

    size_bytes: int
    watched_micros: int


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


def filled_lately(connection: Connection, now_micros: int, free_bytes: int) -> Filled:
    """Return by how much the disk has filled in as much of the last 24 hours as was watched.

    `free_bytes` are those of now.
    """
    statement = (
        sa.select(room_sample)
        .where(
            room_sample.c.at_micros >= now_micros - DAY_MICROS,
            room_sample.c.at_micros <= now_micros,
        )
        .order_by(room_sample.c.at_micros)
    )
    samples = [(int(row.at_micros), int(row.free_bytes)) for row in connection.execute(statement)]
    steps = [
        (now - before, free_before - free)
        for (before, free_before), (now, free) in pairwise([*samples, (now_micros, free_bytes)])
        if now - before <= WATCHED_MICROS
    ]
    return Filled(sum(filled for _, filled in steps), sum(watched for watched, _ in steps))


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
