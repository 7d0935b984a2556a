"""`HoursRead`: what is known of each hour of a destination, in three queries however many hours.

Called by the pages for the grid of hours, the bars and the list of destinations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.hours import Hour
from tailrace.state.book import ReadingBook
from tailrace.state.database import reading
from tailrace.state.delivery import DataType, RunState
from tailrace.state.destination_book import find_destination
from tailrace.state.tables import delivery, sealed_file, sealed_hour

# Six weeks and an hour that is open: more is asked for in pieces.
HOURS_MAX = 6 * 7 * 24 + 1


class RunOfHour(msgspec.Struct, frozen=True):
    """One run of an hour; `due_micros` is the machine's time, `finished_micros` the service's."""

    data_type: DataType
    manual_export: int
    state: RunState
    attempts: int
    due_micros: int | None
    finished_micros: int | None


class KnownHourOf(msgspec.Struct, frozen=True):
    """One hour of a destination: what is sealed of its data types, and their runs.

    `lines` counts events, or merged IDs where a destination receives only those; `size_bytes` and
    `files` are of all its data types.
    """

    hour: Hour
    sealed: bool
    files: int
    lines: int
    size_bytes: int
    runs: tuple[RunOfHour, ...]


class HoursRead(ReadingBook):
    """The hours of a destination, as people see them."""

    def hours_of(self, destination_id: int, first: Hour, until: Hour) -> list[KnownHourOf]:
        """Return every hour in `[first, until)`, oldest first, also those nothing is known of.

        Raise `BadRequest` for a destination that there is not; at most `HOURS_MAX` are returned,
        the latest.
        """
        first = max(first, until.plus(-HOURS_MAX))
        with reading(self.engine) as connection:
            found = find_destination(connection, destination_id, within=self.within)
            scopes = [found.scope_of(data_type) for data_type in found.data_types]
            sealed = _sealed(connection, scopes[:1], first, until)
            contents = _contents(connection, scopes, first, until)
            runs = _runs(connection, destination_id, first, until)
        # What is counted is of the first data type.
        main = scopes[0] if scopes else 0
        return [
            KnownHourOf(
                hour=hour,
                sealed=hour.number in sealed,
                files=sum(contents.get((scope, hour.number), (0, 0, 0))[0] for scope in scopes),
                lines=contents.get((main, hour.number), (0, 0, 0))[1],
                size_bytes=sum(
                    contents.get((scope, hour.number), (0, 0, 0))[2] for scope in scopes
                ),
                runs=tuple(runs.get(hour.number, ())),
            )
            for hour in Hour.range(first, until)
        ]


def _sealed(connection: Connection, scopes: list[int], first: Hour, until: Hour) -> set[int]:
    statement = sa.select(sealed_hour.c.hour).where(_between(sealed_hour, scopes, first, until))
    return set(connection.execute(statement).scalars())


def _contents(
    connection: Connection, scopes: Iterable[int], first: Hour, until: Hour
) -> dict[tuple[int, int], tuple[int, int, int]]:
    statement = (
        sa.select(
            sealed_file.c.scope,
            sealed_file.c.hour,
            sa.func.count().label("files"),
            sa.func.sum(sealed_file.c.lines).label("lines"),
            sa.func.sum(sealed_file.c.size_bytes).label("size_bytes"),
        )
        .where(_between(sealed_file, scopes, first, until))
        .group_by(sealed_file.c.scope, sealed_file.c.hour)
    )
    return {
        (row.scope, row.hour): (row.files, int(row.lines), int(row.size_bytes))
        for row in connection.execute(statement)
    }


def _runs(
    connection: Connection, destination_id: int, first: Hour, until: Hour
) -> dict[int, list[RunOfHour]]:
    statement = (
        sa.select(delivery)
        .where(
            delivery.c.destination_id == destination_id,
            delivery.c.hour >= first.number,
            delivery.c.hour < until.number,
        )
        .order_by(delivery.c.hour, delivery.c.manual_export, delivery.c.data_type)
    )
    found: dict[int, list[RunOfHour]] = {}
    for row in connection.execute(statement):
        found.setdefault(row.hour, []).append(_run(row))
    return found


def _run(row: sa.Row[Any]) -> RunOfHour:
    return RunOfHour(
        data_type=row.data_type,
        manual_export=row.manual_export,
        state=row.state,
        attempts=row.attempts,
        due_micros=row.due_micros,
        finished_micros=row.finished_micros,
    )


def _between(
    table: sa.Table, scopes: Iterable[int], first: Hour, until: Hour
) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.scope.in_(list(scopes)),
        table.c.hour >= first.number,
        table.c.hour < until.number,
    )
