"""What a manual export's plan and its progress ask of the ledger; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Row

from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.state.book import ReadingBook
from tailrace.state.database import reading
from tailrace.state.delivery import RunState
from tailrace.state.destination_book import find_destination
from tailrace.state.manual_exports import of_export
from tailrace.state.rows import file_of
from tailrace.state.sealed import SealedFile
from tailrace.state.sharing import sharing
from tailrace.state.tables import delivery, earlier_place, sealed_file, sealed_hour

# The pace of a manual export is that of its last runs, so many of them.
PACE_RUNS = 100

# The others that are owed wait for a person, or for access.
UNDER_WAY: tuple[RunState, ...] = ("pending", "running", "retrying")

_DAY_HOURS = 24


class KnownFile(msgspec.Struct, frozen=True):
    """A sealed file; `dropped` if the archive was told that it may drop its copy."""

    file: SealedFile
    dropped: bool


class KnownHour(msgspec.Struct, frozen=True):
    """A sealed hour of a scope, and whether a run has put it where some destinations are now."""

    scope: int
    hour: Hour
    record: bytes
    digest: str
    files: tuple[KnownFile, ...]
    delivered: bool


class DatesWithData(msgspec.Struct, frozen=True):
    """Successive UTC dates, `yyyy-MM-dd`, each of which has lines; both ends are included."""

    first: str
    last: str
    lines: int


class Progress(msgspec.Struct, frozen=True):
    """How far a manual export is: its runs by state, and how fast the last ones went."""

    runs: dict[RunState, int]
    runs_per_minute: float | None

    @property
    def total(self) -> int:
        """All of its runs."""
        return sum(self.runs.values())

    @property
    def under_way(self) -> int:
        """The runs that wait for nothing but their turn or their next try."""
        return sum(self.runs.get(state, 0) for state in UNDER_WAY)

    @property
    def minutes_left(self) -> float | None:
        """How long the rest takes at the pace of the last runs; None while that is not known."""
        if self.runs_per_minute is None:
            return None
        return round(self.under_way / self.runs_per_minute, 1)


class ManualReports(ReadingBook):
    """The ledger as plans and lists of manual exports see it."""

    def newest_sealed_hour(self) -> Hour | None:
        """Return the newest hour of which anything is sealed: those before it are closed."""
        with reading(self.engine) as connection:
            newest = connection.execute(sa.select(sa.func.max(sealed_hour.c.hour))).scalar_one()
        return None if newest is None else Hour(newest)

    def sealed_span(self, scope: int, first: Hour, until: Hour) -> tuple[Hour, Hour] | None:
        """Return the first and the last sealed hour of a scope within `[first, until)`."""
        statement = sa.select(
            sa.func.min(sealed_hour.c.hour), sa.func.max(sealed_hour.c.hour)
        ).where(self._between(sealed_hour, scope, first, until))
        with reading(self.engine) as connection:
            lowest, highest = connection.execute(statement).one()
        return None if lowest is None else (Hour(lowest), Hour(highest))

    def sealed_count(self, scope: int, first: Hour, until: Hour) -> int:
        """Count the sealed hours of a scope within `[first, until)`."""
        counted = sa.select(sa.func.count()).select_from(sealed_hour)
        statement = counted.where(self._between(sealed_hour, scope, first, until))
        with reading(self.engine) as connection:
            return int(connection.execute(statement).scalar_one())

    def has_lines(self, scope: int, first: Hour, until: Hour) -> bool:
        """Tell whether any file of a scope's hours within `[first, until)` has lines."""
        lines = sa.exists().where(
            self._between(sealed_file, scope, first, until), sealed_file.c.lines > 0
        )
        with reading(self.engine) as connection:
            return bool(connection.execute(sa.select(lines)).scalar_one())

    def known_hours(
        self, scope: int, first: Hour, until: Hour, destination_ids: Collection[int]
    ) -> list[KnownHour]:
        """Return the sealed hours in `[first, until)` with their files, in their order.

        Ask for a day at a time. They are `delivered` if one of the destinations has got them where
        it is now: what was delivered before it moved lies at an earlier place.
        """
        moved = (
            sa.select(sa.func.max(earlier_place.c.until_micros))
            .where(earlier_place.c.destination_id == delivery.c.destination_id)
            .scalar_subquery()
        )
        delivered = sa.exists().where(
            delivery.c.destination_id.in_(destination_ids),
            delivery.c.scope == sealed_hour.c.scope,
            delivery.c.hour == sealed_hour.c.hour,
            delivery.c.state == "success",
            sa.or_(moved.is_(None), delivery.c.finished_micros > moved),
        )
        hours = (
            sa.select(sealed_hour, delivered.label("delivered"))
            .where(self._between(sealed_hour, scope, first, until))
            .order_by(sealed_hour.c.hour)
        )
        files = (
            sa.select(sealed_file)
            .where(self._between(sealed_file, scope, first, until))
            .order_by(sealed_file.c.hour, sealed_file.c.number)
        )
        with reading(self.engine) as connection:
            of_hour = {
                hour: tuple(_known_file(row) for row in rows)
                for hour, rows in groupby(connection.execute(files), key=lambda row: row.hour)
            }
            return [
                KnownHour(
                    scope=row.scope,
                    hour=Hour(row.hour),
                    record=row.record,
                    digest=row.digest,
                    files=of_hour.get(row.hour, ()),
                    delivered=bool(row.delivered),
                )
                for row in connection.execute(hours)
            ]

    def sharing_destinations(self, destination_id: int) -> list[int]:
        """Return the destinations that put their objects under the same keys, and itself.

        Raise `BadRequest` for a destination that there is not.
        """
        with reading(self.engine) as connection:
            found = find_destination(connection, destination_id, within=self.within)
            return [
                other
                for other in sharing(connection, destination_id)
                if find_destination(connection, other).organization == found.organization
            ]

    def first_date_with_data(self, scope: int) -> str | None:
        """Return the UTC date of a scope's first sealed lines, `yyyy-MM-dd`; None without any."""
        statement = sa.select(sa.func.min(sealed_file.c.hour)).where(
            self._own_scope(sealed_file.c.scope),
            sealed_file.c.scope == scope,
            sealed_file.c.lines > 0,
        )
        with reading(self.engine) as connection:
            first = connection.execute(statement).scalar_one()
        return None if first is None else Hour(first).date

    def dates_with_data(self, scope: int) -> list[DatesWithData]:
        """Return the UTC dates of sealed hours that have lines, the earliest first."""
        day = (sealed_file.c.hour // _DAY_HOURS).label("day")
        statement = (
            sa.select(
                sa.func.min(sealed_file.c.hour).label("hour"),
                sa.func.sum(sealed_file.c.lines).label("lines"),
            )
            .where(self._own_scope(sealed_file.c.scope), sealed_file.c.scope == scope)
            .group_by(day)
            .having(sa.func.sum(sealed_file.c.lines) > 0)
            .order_by(day)
        )
        with reading(self.engine) as connection:
            days = [(row.hour // _DAY_HOURS, row.lines) for row in connection.execute(statement)]
        return _joined(days)

    def progress(self, export_id: int) -> Progress:
        """Count a manual export's runs by state, and reckon its pace from the last that ended."""
        counts = (
            sa.select(delivery.c.state, sa.func.count().label("runs"))
            .where(of_export(export_id), self._own_destination(delivery.c.destination_id))
            .group_by(delivery.c.state)
            .order_by(delivery.c.state)
        )
        ended = (
            sa.select(delivery.c.finished_micros)
            .where(
                of_export(export_id),
                delivery.c.state == "success",
                self._own_destination(delivery.c.destination_id),
            )
            .order_by(delivery.c.finished_micros.desc())
            .limit(PACE_RUNS)
        )
        with reading(self.engine) as connection:
            runs = {row.state: row.runs for row in connection.execute(counts)}
            ends = list(connection.execute(ended).scalars())
        return Progress(runs, _pace(ends))

    def _between(
        self, table: sa.Table, scope: int, first: Hour, until: Hour
    ) -> sa.ColumnElement[bool]:
        return sa.and_(
            self._own_scope(table.c.scope),
            table.c.scope == scope,
            table.c.hour >= first.number,
            table.c.hour < until.number,
        )


def _known_file(row: Row[Any]) -> KnownFile:
    return KnownFile(file_of(row), row.removed_micros is not None)


def _joined(days: Sequence[tuple[int, int]]) -> list[DatesWithData]:
    """Join days that follow one another."""
    found: list[list[int]] = []
    for day, lines in days:
        if found and found[-1][1] == day - 1:
            found[-1][1:] = [day, found[-1][2] + lines]
        else:
            found.append([day, day, lines])
    return [
        DatesWithData(Hour(first * _DAY_HOURS).date, Hour(last * _DAY_HOURS).date, lines)
        for first, last, lines in found
    ]


def _pace(ends: Sequence[int]) -> float | None:
    """Return runs a minute between the oldest and the newest of some ends, newest first."""
    if len(ends) < 2 or ends[0] <= ends[-1]:
        return None
    return round((len(ends) - 1) * 60 * MICROS / (ends[0] - ends[-1]), 1)
