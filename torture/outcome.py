"""What a data folder came to after a history, with all of which a kill must change nothing.

Compared are the bytes of every line but for `processed_time`, the bytes of every merged-ID file,
every seal record but for what follows from the lines' bytes, and what is known of everyone.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.seal.manifest import SealRecord, decode_record, digest, manifest_body
from tailrace.seal.proof import check_chain

# Whatever is known of people, groups and events that could not be processed.
TABLES = (
    "device", "user", "identity", "person", "user_property", "group_property", "merge", "held",
    "position",
)  # fmt: skip
_PROCESSED = re.compile(rb'"processed_time":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"')
_TIMELESS = b'"processed_time":""'
_GZIP = 31


class Outcome(msgspec.Struct, frozen=True):
    """Everything by scope and hour; `records` are only comparable if both have the same files."""

    lines: dict[tuple[int, str], list[bytes]]
    merged: dict[tuple[int, str], bytes]
    counts: dict[tuple[int, str], dict[str, Any]]
    files: dict[tuple[int, str], list[tuple[str, int, int]]]
    tables: dict[str, list[Any]]

    def totals(self) -> dict[str, int]:
        """Return the sums of all hours' accounting, of projects alone, and the merges."""
        names = ("accepted", "exported", "duplicates", "identifies", "filtered", "held")
        of_projects = [counts for (scope, _), counts in self.counts.items() if scope > 0]
        sums = {name: sum(counts[name] for counts in of_projects) for name in names}
        return sums | {"merges": len(self.tables["merge"])}


def outcome_of(path: Path) -> Outcome:
    """Read a folder in which no processor lives; raise `AssertionError` if it contradicts itself.

    Its files must be those of its rows, and have what the rows say; each chain of manifests must
    hold; the ledger must know the same hours.
    """
    folder = DataFolder(path)
    with closing(sqlite3.connect(folder.processing_database)) as database:
        rows = database.execute("SELECT scope, hour, record, digest FROM sealed_hour ORDER BY 1, 2")
        sealed = [(scope, Hour(hour), record, sha) for scope, hour, record, sha in rows]
        alarms = database.execute("SELECT sentence FROM alarm").fetchall()
        tables = {
            table: sorted(database.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in TABLES
        }
    assert alarms == [], f"an hour is not sealed: {alarms}"
    _check_chains(sealed)
    _check_ledger(folder, sealed)
    found = Outcome({}, {}, {}, {}, tables)
    paths = set()
    for scope, hour, body, _ in sealed:
        record = decode_record(body)
        key = (scope, str(hour))
        found.counts[key] = _counts(record)
        found.files[key] = [(file.name, file.lines, file.raw_bytes) for file in record.files]
        lines = found.lines.setdefault(key, [])
        for file, content in _files(folder, record, hour):
            paths.add(folder.archive / str(scope) / hour.date / file.name)
            if scope < 0:
                found.merged[key] = content
            else:
                lines += _lines(content, file)
    kept = {path for path in folder.archive.rglob("*") if path.is_file()}
    assert kept == paths, f"files without a row: {kept - paths}"
    return found


def check_left_over(path: Path) -> None:
    """Check that of lines which are all sealed nothing is left but their files."""
    folder = DataFolder(path)
    left = sorted(one.name for one in folder.packs.iterdir())
    assert left == [], f"packs are left over: {left}"
    unfinished = sorted(one.name for one in path.rglob("*.tmp"))
    assert unfinished == [], f"half-written files are left over: {unfinished}"


def _check_chains(sealed: list[tuple[int, Hour, bytes, str]]) -> None:
    for scope in {scope for scope, *_ in sealed}:
        own = [(record, sha) for of, _, record, sha in sealed if of == scope]
        check_chain(manifest_body(record, sha, "t/") for record, sha in own)


def _check_ledger(folder: DataFolder, sealed: list[tuple[int, Hour, bytes, str]]) -> None:
    with closing(sqlite3.connect(folder.database)) as database:
        rows = database.execute("SELECT scope, hour, record, digest FROM sealed_hour ORDER BY 1, 2")
        known = [(scope, Hour(hour), record, sha) for scope, hour, record, sha in rows]
    assert known == sealed, "the ledger knows other hours than the processor sealed"


def _files(folder: DataFolder, record: SealRecord, hour: Hour) -> Iterator[tuple[Any, bytes]]:
    for file in record.files:
        content = (folder.archive / str(record.scope) / hour.date / file.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256, f"{file.name} is another file"
        yield file, content


def _lines(content: bytes, file: Any) -> list[bytes]:
    # One shot, one member: what follows a first member would be lost here.
    raw = zlib.decompress(content, _GZIP)
    *lines, rest = raw.split(b"\n")
    assert rest == b"", f"{file.name} does not end with a line's end"
    assert (len(lines), len(raw)) == (file.lines, file.raw_bytes), f"{file.name} has other lines"
    timeless = [_PROCESSED.subn(_TIMELESS, line) for line in lines]
    assert all(times == 1 for _, times in timeless), f"a line of {file.name} has no processed_time"
    return [line for line, _ in timeless]


def _counts(record: SealRecord) -> dict[str, Any]:
    """Return a seal record without what follows from the bytes of the lines or from their cuts.

    That is all of it for merged IDs: no time of processing is in their lines.
    """
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    if record.scope > 0:
        del found["files"]
        if found["previous"] is not None:
            del found["previous"]["sha256"]
    else:
        found["digest"] = digest(msgspec.json.encode(record))
    return found
