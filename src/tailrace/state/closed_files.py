"""Which files of a project's closed hours there are, as the ledger has them; read only.

Called for the Export API, whose requests name a range of hours.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.hours import Hour
from tailrace.state.database import reading
from tailrace.state.tables import sealed_file, sealed_hour


class ClosedFile(msgspec.Struct, frozen=True):
    """One file of an hour; `crc32` is the gzip file's own."""

    hour: Hour
    number: int
    name: str
    size_bytes: int
    crc32: int


class ClosedHours(msgspec.Struct, frozen=True):
    """What is known of a range of hours.

    `sealed` are its closed hours, also those without events. `removed` are those of which the
    archive has dropped a file. `files` are in the order of hours and numbers, and left out where
    there are more than were asked for.
    """

    sealed: frozenset[Hour]
    removed: tuple[Hour, ...]
    count: int
    size_bytes: int
    files: tuple[ClosedFile, ...]


def closed_hours(
    engine: Engine, project: int, first: Hour, last: Hour, *, files_max: int
) -> ClosedHours:
    """Return what is known of the hours from `first` to `last`, all of one moment."""
    with reading(engine) as connection:
        sealed = connection.execute(
            sa.select(sealed_hour.c.hour).where(
                sealed_hour.c.scope == project,
                sealed_hour.c.hour.between(first.number, last.number),
            )
        ).scalars()
        hours = frozenset(map(Hour, sealed))
        of_sealed = _of_sealed(project, first, last)
        removed = connection.execute(
            sa.select(sealed_file.c.hour)
            .where(of_sealed, sealed_file.c.removed_micros.is_not(None))
            .distinct()
            .order_by(sealed_file.c.hour)
        ).scalars()
        gone = tuple(map(Hour, removed))
        count, size = connection.execute(
            sa.select(
                sa.func.count(), sa.func.coalesce(sa.func.sum(sealed_file.c.size_bytes), 0)
            ).where(of_sealed)
        ).one()
        files = _files(connection, of_sealed) if count <= files_max else ()
    return ClosedHours(hours, gone, int(count), int(size), files)


def _files(connection: Connection, of_sealed: sa.ColumnElement[bool]) -> tuple[ClosedFile, ...]:
    table = sealed_file.c
    rows = connection.execute(
        sa.select(table.hour, table.number, table.name, table.size_bytes, table.crc32)
        .where(of_sealed)
        .order_by(table.hour, table.number)
    )
    return tuple(
        ClosedFile(Hour(row.hour), row.number, row.name, row.size_bytes, row.crc32) for row in rows
    )


def _of_sealed(project: int, first: Hour, last: Hour) -> sa.ColumnElement[bool]:
    """Files of an open hour are handed over early; they are no whole hour."""
    return sa.and_(
        sealed_file.c.scope == project,
        sealed_file.c.hour.between(first.number, last.number),
        sa.exists().where(
            sealed_hour.c.scope == sealed_file.c.scope, sealed_hour.c.hour == sealed_file.c.hour
        ),
    )
