"""How much was sealed lately, and the newest file, of a project or an organization's merged IDs."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.hours import Hour
from tailrace.state.database import reading
from tailrace.state.rows import file_of
from tailrace.state.sealed import SealedFile
from tailrace.state.tables import sealed_file, sealed_hour


class Volume(msgspec.Struct, frozen=True):
    """What was sealed of a scope: hours, also empty ones; lines and compressed bytes in them."""

    hours: int
    lines: int
    size_bytes: int


def volume(engine: Engine, scope: int, first: Hour, until: Hour) -> Volume:
    """Return what was sealed of a scope in the hours `[first, until)`."""
    of_hours = sa.select(sa.func.count()).where(
        sealed_hour.c.scope == scope,
        sealed_hour.c.hour >= first.number,
        sealed_hour.c.hour < until.number,
    )
    of_files = (
        sa.select(
            sa.func.coalesce(sa.func.sum(sealed_file.c.lines), 0).label("lines"),
            sa.func.coalesce(sa.func.sum(sealed_file.c.size_bytes), 0).label("size_bytes"),
        )
        .join(
            sealed_hour,
            sa.and_(
                sealed_hour.c.scope == sealed_file.c.scope,
                sealed_hour.c.hour == sealed_file.c.hour,
            ),
        )
        .where(
            sealed_file.c.scope == scope,
            sealed_file.c.hour >= first.number,
            sealed_file.c.hour < until.number,
        )
    )
    with reading(engine) as connection:
        hours = int(connection.execute(of_hours).scalar_one())
        row = connection.execute(of_files).one()
    return Volume(hours, int(row.lines), int(row.size_bytes))


def newest_file(engine: Engine, scope: int) -> SealedFile | None:
    """Return the newest file of a scope whose copy is still on this machine, or None."""
    statement = (
        sa.select(sealed_file)
        .where(sealed_file.c.scope == scope, sealed_file.c.removed_micros.is_(None))
        .order_by(sealed_file.c.hour.desc(), sealed_file.c.number)
        .limit(1)
    )
    with reading(engine) as connection:
        row = connection.execute(statement).one_or_none()
    return None if row is None else file_of(row)
