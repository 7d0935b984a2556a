"""Reads and writes of the processing tables' rows, many keys at a time.

Keys are sorted before they meet SQLite: neighbours share pages. Called by `process` alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tailrace.errors import Corrupt

# Three widths of `IN (…)`, so that three statements stay prepared; the last keys are repeated.
_WIDTHS = (16, 128, 1024)

_PERSONS = (
    "SELECT person.amplitude_id, person.project, first_event_micros, start_version, paying, "
    "device, place, language, version, more, properties "
    "FROM person LEFT JOIN user_property USING (amplitude_id, project)"
)

Row = tuple[Any, ...]
Connection = sqlite3.Connection


# (partition, position, index) of an event in the log.
Place = tuple[int, int, int]


class HeldRow(msgspec.Struct, frozen=True):
    """An event that could not be processed, or (index -1) a whole request of `events` events.

    `event` holds the bytes as they came; the rest is what its record's header said.
    """

    partition: int
    position: int
    index: int
    project: int
    hour: int
    stamp: int
    error: str
    event: bytes
    events: int
    organization: int
    endpoint: str
    received_micros: int
    client_upload_micros: int | None
    client_address: str


class ChunkRow(msgspec.Struct, frozen=True):
    """A run of one project-hour's lines in a pack: a raw deflate stream ended by a full flush.

    `crc` is the CRC32 of the raw lines; lines are ordered by `sequence`.
    """

    project: int
    hour: int
    sequence: int
    pack: str
    offset: int
    length: int
    crc: int
    raw_length: int
    lines: int
    id: int = 0


def find_devices(
    connection: sqlite3.Connection, organization: int, device_ids: Iterable[str]
) -> list[Row]:
    """Return (device id, amplitude id, that id's user id or None) of those that are known."""
    return list(
        _find(
            connection,
            "SELECT device_id, amplitude_id, identity.user_id FROM device "
            "JOIN identity USING (amplitude_id) WHERE device.organization = ? AND device_id IN",
            (organization,),
            sorted(device_ids),
        )
    )


def find_users(
    connection: sqlite3.Connection, organization: int, user_ids: Iterable[str]
) -> list[Row]:
    """Return (user id, amplitude id) of those that are known."""
    return list(
        _find(
            connection,
            "SELECT user_id, amplitude_id FROM user WHERE organization = ? AND user_id IN",
            (organization,),
            sorted(user_ids),
        )
    )


def find_persons(
    connection: sqlite3.Connection, project: int, amplitude_ids: Iterable[int]
) -> Iterator[Row]:
    """Yield those of a project that are known, each as written, and their properties or None."""
    return _find(
        connection,
        f"{_PERSONS} WHERE person.project = ? AND person.amplitude_id IN",
        (project,),
        sorted(amplitude_ids),
    )


def find_persons_anywhere(
    connection: sqlite3.Connection, amplitude_ids: Iterable[int]
) -> Iterator[Row]:
    """Yield what is known of these ids in any project, as `find_persons`."""
    return _find(connection, f"{_PERSONS} WHERE person.amplitude_id IN", (), sorted(amplitude_ids))


def find_groups(
    connection: sqlite3.Connection, project: int, groups: Iterable[tuple[str, str]]
) -> Iterator[Row]:
    """Yield (type, value, properties) of those groups of a project that are known."""
    for group in sorted(groups):
        yield from connection.execute(
            "SELECT group_type, group_value, properties FROM group_property "
            "WHERE project = ? AND group_type = ? AND group_value = ?",
            (project, *group),
        )


def find_project_hour(connection: sqlite3.Connection, project: int, hour: int) -> str | None:
    """Return the settings stored with a project's hour, or None before its first record."""
    row = connection.execute(
        "SELECT settings FROM project_hour WHERE project = ? AND hour = ?", (project, hour)
    ).fetchone()
    return None if row is None else str(row[0])


def add_project_hours(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Insert (project, hour, organization, settings, first stamp, last stamp) with counts of 0."""
    connection.executemany(
        "INSERT INTO project_hour (project, hour, organization, settings, first_stamp, last_stamp) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )


def count_project_hours(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add six counts, widen to (first stamp, last stamp), of (project, hour).

    Raises `Corrupt` if an hour has no row: its counts would be lost, and with them the proof.
    """
    changed = connection.executemany(
        "UPDATE project_hour SET accepted = accepted + ?, exported = exported + ?, "
        "duplicates = duplicates + ?, identifies = identifies + ?, filtered = filtered + ?, "
        "held = held + ?, first_stamp = min(first_stamp, ?), last_stamp = max(last_stamp, ?) "
        "WHERE project = ? AND hour = ?",
        rows,
    ).rowcount
    if rows and changed != len(rows):
        raise Corrupt(
            f"Cannot count {len(rows)} project-hours: only {changed} have a row, the others are "
            "sealed already. Restore the data folder from a backup."
        )


def count_event_dates(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add (project, hour, date, events) to the histogram."""
    connection.executemany(
        "INSERT INTO event_date VALUES (?, ?, ?, ?) ON CONFLICT (project, hour, date) "
        "DO UPDATE SET events = events + excluded.events",
        rows,
    )


def write_devices(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (organization, device id, amplitude id, anonymous)."""
    connection.executemany("INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?)", rows)


def write_users(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (organization, user id, amplitude id)."""
    connection.executemany("INSERT OR REPLACE INTO user VALUES (?, ?, ?)", rows)


def write_identities(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (amplitude id, organization, user id or None)."""
    connection.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?, ?)", rows)


def write_merges(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (loser, survivor, organization, hour, stamp, merge ms, server ms), in record order.

    They are numbered on and counted in their organization's hour.
    """
    by_hour: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        by_hour.setdefault((row[3], row[2]), []).append(row)
    for key, of_hour in by_hour.items():
        (counted,) = connection.execute(
            "INSERT INTO merge_hour VALUES (?, ?, ?) ON CONFLICT (hour, organization) "
            "DO UPDATE SET merges = merges + excluded.merges RETURNING merges",
            (*key, len(of_hour)),
        ).fetchone()
        first = counted - len(of_hour) + 1
        connection.executemany(
            "INSERT INTO merge (amplitude_id, merged_amplitude_id, organization, hour, stamp, "
            "merge_time, merge_server_time, sequence) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row, number) for number, row in enumerate(of_hour, first)),
        )


def write_persons(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (amplitude id, project, first event's microseconds, start version, paying, device,
    place, language, version, what few have).
    """
    marks = ", ".join("?" * 10)
    connection.executemany(f"INSERT OR REPLACE INTO person VALUES ({marks})", rows)  # noqa: S608


def write_user_properties(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (amplitude id, project, properties)."""
    connection.executemany("INSERT OR REPLACE INTO user_property VALUES (?, ?, ?)", rows)


def write_groups(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write (project, group type, group value, properties)."""
    connection.executemany("INSERT OR REPLACE INTO group_property VALUES (?, ?, ?, ?)", rows)


def write_held(connection: sqlite3.Connection, rows: Iterable[HeldRow]) -> None:
    """Write events that could not be processed."""
    connection.executemany(
        f"INSERT INTO held VALUES ({', '.join('?' * 14)})",  # noqa: S608
        [msgspec.structs.astuple(row) for row in rows],
    )


def held(connection: sqlite3.Connection, limit: int) -> list[HeldRow]:
    """Return the oldest held events, at most `limit`."""
    rows = connection.execute(
        "SELECT * FROM held ORDER BY stamp, partition, position, idx LIMIT ?", (limit,)
    )
    return [HeldRow(*row) for row in rows]


def is_held(connection: sqlite3.Connection, place: Place) -> bool:
    """Say whether the event of (partition, position, index) is held."""
    found = connection.execute(
        "SELECT 1 FROM held WHERE partition = ? AND position = ? AND idx = ?", place
    )
    return found.fetchone() is not None


def remove_held(connection: sqlite3.Connection, places: Iterable[Place]) -> None:
    """Forget held events that went through the log again; their hours keep the count."""
    connection.executemany(
        "DELETE FROM held WHERE partition = ? AND position = ? AND idx = ?", places
    )


def write_chunks(connection: sqlite3.Connection, rows: Iterable[ChunkRow]) -> None:
    """Insert chunks; their ids are new."""
    connection.executemany(
        "INSERT INTO chunk (project, hour, sequence, pack, offset, length, crc, raw_length, lines) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [msgspec.structs.astuple(row)[:-1] for row in rows],
    )


def newest_chunks(
    connection: sqlite3.Connection, project: int, hour: int, limit: int
) -> list[ChunkRow]:
    """Return the newest chunks of a project's hour, newest first."""
    rows = connection.execute(
        "SELECT project, hour, sequence, pack, offset, length, crc, raw_length, lines, id "
        "FROM chunk WHERE project = ? AND hour = ? ORDER BY sequence DESC LIMIT ?",
        (project, hour, limit),
    )
    return [ChunkRow(*row) for row in rows]


def remove_chunks(connection: sqlite3.Connection, rows: Sequence[ChunkRow]) -> None:
    """Forget chunks whose lines were rewritten."""
    connection.executemany("DELETE FROM chunk WHERE id = ?", [(row.id,) for row in rows])


def small_chunk_bytes(
    connection: sqlite3.Connection, smaller_than: int
) -> dict[tuple[int, int], int]:
    """Return the raw bytes in small chunks of every project's hour that has such."""
    rows = connection.execute(
        "SELECT project, hour, sum(raw_length) FROM chunk WHERE raw_length < ? "
        "GROUP BY project, hour",
        (smaller_than,),
    )
    return {(row[0], row[1]): row[2] for row in rows}


def pack_is_named(connection: sqlite3.Connection, pack: str) -> bool:
    """Say whether a chunk lies in this pack."""
    return bool(
        connection.execute("SELECT 1 FROM chunk WHERE pack = ? LIMIT 1", (pack,)).fetchone()
    )


def _find(
    connection: sqlite3.Connection, statement: str, first: Row, keys: Sequence[Any]
) -> Iterator[Row]:
    start = 0
    while start < len(keys):
        left = len(keys) - start
        width = next((width for width in _WIDTHS if width >= left), _WIDTHS[-1])
        part = tuple(keys[start : start + width])
        part += part[-1:] * (width - len(part))
        # Row by row: a person's properties may be large.
        yield from connection.execute(f"{statement} ({_MARKS[width]})", first + part)
        start += width


_MARKS = {width: ", ".join("?" * width) for width in _WIDTHS}
