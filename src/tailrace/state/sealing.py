"""What sealing must remember: files, sealed hours and the chain, beside the processing tables.

Every function takes the processing database's connection; writes belong inside one of its
transactions, opened by the caller (`tailrace.seal`). Hours and alarms are in `closing.py`.
"""
# ruff: noqa: S608 - the texts put together are constants of this file; values are bound.

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.state.processing_rows import ChunkRow
from tailrace.state.sealed import SealedFile

# Run after the processing tables are there: the indexes at the end are on one of them.
SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    scope INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    number INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    crc32 INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    handed_over INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, hour, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_not_handed_over ON file (hour) WHERE handed_over = 0;
CREATE TABLE IF NOT EXISTS sealed_hour (
    scope INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    record BLOB NOT NULL,
    digest TEXT NOT NULL,
    handed_over INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, hour)
);
CREATE INDEX IF NOT EXISTS sealed_hour_not_handed_over ON sealed_hour (hour) WHERE handed_over = 0;
CREATE TABLE IF NOT EXISTS scope_activity (
    scope INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    last_event_hour INTEGER NOT NULL,
    last_sealed_hour INTEGER NOT NULL,
    last_digest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS scope_activity_by_event ON scope_activity (last_event_hour);
CREATE TABLE IF NOT EXISTS alarm (
    scope INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    sentence TEXT NOT NULL,
    blocking INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (scope, hour)
);
CREATE INDEX IF NOT EXISTS project_hour_by_hour ON project_hour (hour, project);
CREATE INDEX IF NOT EXISTS chunk_by_hour ON chunk (hour, project, sequence);
CREATE INDEX IF NOT EXISTS chunk_by_pack ON chunk (pack);
"""

_FILE = "scope, hour, number, name, size_bytes, sha256, crc32, lines, raw_bytes"
BLOCKED = "EXISTS (SELECT 1 FROM alarm WHERE alarm.scope = {scope} AND alarm.blocking = 1)"


def read_number(connection: sqlite3.Connection, name: str) -> int | None:
    """Return a whole number from `meta`; None if it was never written."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def write_number(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Keep a whole number in `meta`."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def chunk_bytes_after(
    connection: sqlite3.Connection, chunk_id: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield project, hour, compressed bytes and highest id of the chunks newer than `chunk_id`."""
    yield from connection.execute(
        "SELECT project, hour, sum(length), max(id) FROM chunk WHERE id > ? GROUP BY project, hour",
        (chunk_id,),
    )


def chunk_bytes(connection: sqlite3.Connection, project: int, hour: int) -> int:
    """Return how many compressed bytes of a project-hour wait for a file."""
    row = connection.execute(
        "SELECT coalesce(sum(length), 0) FROM chunk WHERE hour = ? AND project = ?",
        (hour, project),
    ).fetchone()
    return int(row[0])


def chunks_of(connection: sqlite3.Connection, project: int, hour: int) -> Iterator[ChunkRow]:
    """Yield the chunks of one project-hour in the order of its lines."""
    yield from _chunks(connection, "hour = ? AND project = ?", (hour, project))


def chunks_of_hour(connection: sqlite3.Connection, hour: int) -> Iterator[ChunkRow]:
    """Yield an hour's chunks by project, each in the order of its lines; none of blocked ones."""
    blocked = BLOCKED.format(scope="chunk.project")
    yield from _chunks(connection, f"hour = ? AND NOT {blocked}", (hour,))


def _chunks(
    connection: sqlite3.Connection, where: str, values: tuple[int, ...]
) -> Iterator[ChunkRow]:
    rows = connection.execute(
        "SELECT project, hour, sequence, pack, offset, length, crc, raw_length, lines, id "
        "FROM chunk "
        f"WHERE {where} ORDER BY hour, project, sequence",
        values,
    )
    for row in rows:
        yield ChunkRow(*row)


def file_number_max(connection: sqlite3.Connection, scope: int, hour: int) -> int:
    """Return the highest partition number that has a row; 0 if none has."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) FROM file WHERE scope = ? AND hour = ?", (scope, hour)
    ).fetchone()
    return int(row[0])


def add_file(
    connection: sqlite3.Connection, file: SealedFile, organization: int, chunk_ids: Sequence[int]
) -> None:
    """Record a file that is durable in the archive, and drop the chunks that it was made from.

    From the commit on the row is the file: it is never made again. Raises `Corrupt` if a chunk
    went meanwhile, or a row of this number is there.
    """
    try:
        connection.execute(
            f"INSERT INTO file ({_FILE}, organization) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*_file_values(file), organization),
        )
    except sqlite3.IntegrityError as error:
        raise Corrupt(
            f"Cannot record the file {file.name}: the processing database has a row for it. "
            "Two processors may be at work on this folder; stop both and start one."
        ) from error
    dropped = connection.executemany(
        "DELETE FROM chunk WHERE id = ?", ((chunk_id,) for chunk_id in chunk_ids)
    ).rowcount
    if dropped != len(chunk_ids):
        raise Corrupt(
            f"Cannot record the file {file.name}: {len(chunk_ids) - dropped} of its "
            f"{len(chunk_ids)} chunks have no row any more, so their lines may be elsewhere too. "
            "Two processors may be at work on this folder; stop both and start one."
        )


def files_of(connection: sqlite3.Connection, scope: int, hour: int) -> tuple[SealedFile, ...]:
    """Return an hour's files in the order of their numbers."""
    rows = connection.execute(
        f"SELECT {_FILE} FROM file WHERE scope = ? AND hour = ? ORDER BY number", (scope, hour)
    )
    return tuple(_sealed_file(row) for row in rows)


def find_file(
    connection: sqlite3.Connection, scope: int, hour: int, number: int
) -> SealedFile | None:
    """Return a file that has a row; None for one that this database does not know."""
    row = connection.execute(
        f"SELECT {_FILE} FROM file WHERE scope = ? AND hour = ? AND number = ?",
        (scope, hour, number),
    ).fetchone()
    return None if row is None else _sealed_file(row)


def files_to_hand_over(connection: sqlite3.Connection, limit: int) -> list[tuple[int, SealedFile]]:
    """Return files that the ledger may not know, oldest hour first, with their organization."""
    rows = connection.execute(
        f"SELECT {_FILE}, organization FROM file WHERE handed_over = 0 "
        "ORDER BY hour, scope, number LIMIT ?",
        (limit,),
    )
    return [(row[-1], _sealed_file(row[:-1])) for row in rows]


def hand_over_again(connection: sqlite3.Connection, scope: int, after_hour: int) -> None:
    """Take back the marks of a scope's files and hours after `after_hour`.

    For a ledger that is older than this database: what it lost is handed over once more.
    """
    for table in ("file", "sealed_hour"):
        connection.execute(
            f"UPDATE {table} SET handed_over = 0 WHERE scope = ? AND hour > ? AND handed_over = 1",
            (scope, after_hour),
        )


def mark_files(connection: sqlite3.Connection, files: Iterable[SealedFile]) -> None:
    """Note that the ledger holds these files."""
    connection.executemany(
        "UPDATE file SET handed_over = 1 WHERE scope = ? AND hour = ? AND number = ?",
        ((file.scope, file.hour.number, file.number) for file in files),
    )


def _file_values(file: SealedFile) -> tuple[int | str, ...]:
    return (
        file.scope,
        file.hour.number,
        file.number,
        file.name,
        file.size_bytes,
        file.sha256,
        file.crc32,
        file.lines,
        file.raw_bytes,
    )


def _sealed_file(row: tuple[Any, ...]) -> SealedFile:
    scope, hour, *rest = row
    return SealedFile(scope, Hour(hour), *rest)
