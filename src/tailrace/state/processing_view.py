"""`ProcessingView`: what other processes may know of the processing state, read only.

Called by `ops` for status and metrics, and by the collector for what is processed already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tailrace.hours import Hour
from tailrace.state import processing_rows
from tailrace.state.processing_rows import HeldRow

BUSY_SECONDS = 5.0

Result = TypeVar("Result")

_UNSETTLED_HOURS = """
SELECT hour FROM project_hour WHERE project = :project AND hour BETWEEN :first AND :last
UNION SELECT hour FROM sealed_hour
WHERE scope = :project AND hour BETWEEN :first AND :last AND handed_over = 0
"""


class OpenHour(msgspec.Struct, frozen=True):
    """The running count of one project's hour that is not sealed yet."""

    project: int
    hour: str
    accepted: int
    exported: int
    duplicates: int
    identifies: int
    filtered: int
    held: int


class OpenMerges(msgspec.Struct, frozen=True):
    """How many merges of one organization's hour wait to be sealed."""

    organization: int
    hour: str
    merges: int


class HeldEvent(msgspec.Struct, frozen=True):
    """An event that could not be processed; `index` is -1 for a whole request.

    `stamp` is its append time in microseconds; `event` its bytes as they came.
    """

    partition: int
    position: int
    index: int
    project: int
    hour: str
    stamp: int
    error: str
    event: bytes


class Alarm(msgspec.Struct, frozen=True):
    """An hour that does not balance and is therefore not sealed."""

    scope: int
    hour: str
    sentence: str


class PartitionPosition(msgspec.Struct, frozen=True):
    """How far processing has come in one partition; `stamp` is in microseconds."""

    partition: int
    position: int
    stamp: int


class Unsettled(msgspec.Struct, frozen=True):
    """What of a project's hours the ledger may not know yet, and how far processing has come.

    `hours` have events and are not handed over; `alarmed` is the oldest hour of all that can't be
    sealed. `positions` are of the same moment: what is past them is not in `hours`.
    """

    positions: tuple[PartitionPosition, ...]
    hours: frozenset[Hour]
    alarmed: Hour | None


class ProcessingView:
    """Short reads of the processing database; each sees one committed state."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def positions(self) -> list[PartitionPosition]:
        """Return the committed position of every partition that was ever processed."""
        rows = self._rows("SELECT partition, position, stamp FROM position ORDER BY partition")
        return [PartitionPosition(*row) for row in rows]

    def unsettled(self, project: int, first: Hour, last: Hour) -> Unsettled:
        """Return what of a project's hours, from `first` to `last`, is still on its way."""
        asked = {"project": project, "first": first.number, "last": last.number}

        def read(connection: sqlite3.Connection) -> list[Unsettled]:
            connection.execute("BEGIN")
            positions = connection.execute("SELECT partition, position, stamp FROM position")
            hours = connection.execute(_UNSETTLED_HOURS, asked)
            (alarmed,) = connection.execute(
                "SELECT min(hour) FROM alarm WHERE scope = :project", asked
            ).fetchone()
            return [
                Unsettled(
                    tuple(PartitionPosition(*row) for row in positions),
                    frozenset(Hour(number) for (number,) in hours),
                    None if alarmed is None else Hour(alarmed),
                )
            ]

        return next(iter(self._read(read)), Unsettled((), frozenset(), None))

    def open_hours(self) -> list[OpenHour]:
        """Return the hours that have events and are not sealed, oldest first."""
        rows = self._rows(
            "SELECT project, hour, accepted, exported, duplicates, identifies, filtered, held "
            "FROM project_hour ORDER BY hour, project"
        )
        return [OpenHour(row[0], str(Hour(row[1])), *row[2:]) for row in rows]

    def open_merges(self) -> list[OpenMerges]:
        """Return the hours that have merges and are not sealed, oldest first."""
        rows = self._rows(
            "SELECT organization, hour, merges FROM merge_hour ORDER BY hour, organization"
        )
        return [OpenMerges(row[0], str(Hour(row[1])), row[2]) for row in rows]

    def held_count(self) -> int:
        """Return how many rows are held."""
        return int(next(iter(self._rows("SELECT count(*) FROM held")), (0,))[0])

    def held(self, limit: int) -> list[HeldEvent]:
        """Return the oldest held rows, at most `limit`."""
        rows = self._rows(
            "SELECT partition, position, idx, project, hour, stamp, error, event "
            "FROM held ORDER BY stamp, partition, position, idx LIMIT ?",
            limit,
        )
        return [
            HeldEvent(row[0], row[1], row[2], row[3], str(Hour(row[4])), row[5], row[6], row[7])
            for row in rows
        ]

    def held_rows(self, limit: int) -> list[HeldRow]:
        """Return the oldest held rows whole, at most `limit`, for whoever retries them."""
        if not self._path.exists():
            return []
        with self._open() as connection:
            return processing_rows.held(connection, limit)

    def alarms(self) -> list[Alarm]:
        """Return the hours that can't be sealed, oldest first."""
        rows = self._rows("SELECT scope, hour, sentence FROM alarm ORDER BY hour, scope")
        return [Alarm(row[0], str(Hour(row[1])), row[2]) for row in rows]

    def amplitude_ids(self, organization: int, user_ids: Iterable[str]) -> dict[str, int]:
        """Return the amplitude ids of those users that are known."""
        return dict(
            self._read(lambda open_: processing_rows.find_users(open_, organization, user_ids))
        )

    def _rows(self, statement: str, *values: int) -> list[Any]:
        return self._read(lambda open_: open_.execute(statement, values).fetchall())

    def _read(self, read: Callable[[sqlite3.Connection], list[Result]]) -> list[Result]:
        if not self._path.exists():
            return []
        with self._open() as connection:
            try:
                return read(connection)
            except sqlite3.OperationalError as error:
                # The processor makes its tables at its first start; a power cut in the middle of
                # it leaves a journal that only the processor may roll back.
                if (
                    "no such table" in str(error)
                    or error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK
                ):
                    return []
                raise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self._path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
            yield connection
