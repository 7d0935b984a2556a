"""`World`: real processing database, archive and ledger, filled as a processor would fill them."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from isal import isal_zlib

from tailrace.archive.folder import PACK_HEADER, FolderArchive, pack_name
from tailrace.clock import SteppedClock, to_datetime
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.seal.closer import Closer
from tailrace.seal.handing import HandOver
from tailrace.state import processing_rows
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_rows import ChunkRow
from tailrace.state.sealed import SealedFile, SealedHour

ORGANIZATION = 100001
PROJECT = 300001
PARTITION = 1


def deflate(raw: bytes) -> bytes:
    """Make a chunk's bytes: a raw deflate stream ended by a full flush."""
    deflater = isal_zlib.compressobj(level=1, wbits=-15)
    return deflater.compress(raw) + deflater.flush(isal_zlib.Z_FULL_FLUSH)


class Unsynced(Files):
    """Real files whose syncs are left out: a killed process loses nothing that it wrote."""

    def sync_descriptor(self, descriptor: int) -> None:
        """Wait for nothing."""

    def sync_folder(self, path: Path) -> None:
        """Wait for nothing."""


class World:
    """One data folder with one closer at work on it."""

    organization = ORGANIZATION
    project = PROJECT
    hour = Hour.parse("2026-11-23T13")

    def __init__(
        self,
        folder: Path,
        *,
        partition_bytes: int = 64 * 1024 * 1024,
        ledger: HandOver | None = None,
        files: Files | None = None,
        early: bool = True,
    ) -> None:
        self.folder = folder
        self.clock = SteppedClock(self.hour.start_micros)
        self.store = ProcessingStore.open(folder / "processing.sqlite", SystemIds())
        self.store.connection.execute("PRAGMA synchronous = OFF")
        self.archive = FolderArchive(folder / "packs", folder / "archive", files or Unsynced())
        self.engine = open_database(folder / "tailrace.sqlite")
        self.ledger = Ledger(self.engine, self.clock)
        self.epoch = self.store.draw_epoch()
        self.partitions = [PARTITION]
        self.closer = Closer(
            self.store,
            self.archive,
            ledger or self.ledger,
            epoch=self.epoch,
            partition_bytes=partition_bytes,
            partitions=lambda: self.partitions,
            early=early,
        )
        self._packs = 0

    @staticmethod
    def line(hour: Hour, text: str) -> bytes:
        """Return a short line with the time that `inspect` looks for."""
        time = f"{to_datetime(hour.start_micros + 1000):%Y-%m-%d %H:%M:%S.%f}"
        return json.dumps({"server_upload_time": time, "event_type": text}).encode() + b"\n"

    def commit(
        self,
        hour: Hour,
        chunks: Mapping[int, Sequence[Sequence[str]]],
        *,
        organization: int = ORGANIZATION,
        **counts: int,
    ) -> str:
        """Commit chunks of lines per project in one pack; `counts` are those beside the lines."""
        self._packs += 1
        name = pack_name(self.epoch, self._packs)
        pack: list[bytes] = []
        rows: list[ChunkRow] = []
        offset = len(PACK_HEADER)
        for project, parts in chunks.items():
            for lines in parts:
                raw = b"".join(self.line(hour, text) for text in lines)
                data = deflate(raw)
                crc = zlib.crc32(raw)
                sequence = self._packs * 1000 + len(rows)
                rows.append(
                    ChunkRow(
                        project, hour.number, sequence, name, offset, len(data), crc, len(raw),
                        len(lines),
                    )
                )  # fmt: skip
                pack.append(data)
                offset += len(data)
        self.archive.put_pack(name, pack)
        with self.store.transaction() as connection:
            processing_rows.write_chunks(connection, rows)
            for project, parts in chunks.items():
                self._account(project, hour, organization, sum(map(len, parts)), counts)
        return name

    def _account(
        self, project: int, hour: Hour, organization: int, lines: int, counts: Mapping[str, int]
    ) -> None:
        connection = self.store.connection
        stamp = hour.start_micros + 1_000_500
        connection.execute(
            "INSERT OR IGNORE INTO project_hour "
            "(project, hour, organization, settings, first_stamp, last_stamp) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (project, hour.number, organization, '{"schema_number": 12}', stamp, stamp),
        )
        names = ("duplicates", "identifies", "filtered", "held")
        others = [counts.get(name, 0) for name in names]
        accepted = counts.get("accepted", lines + sum(others))
        connection.execute(
            "UPDATE project_hour SET accepted = accepted + ?, exported = exported + ?, "
            "duplicates = duplicates + ?, identifies = identifies + ?, filtered = filtered + ?, "
            "held = held + ? WHERE project = ? AND hour = ?",
            (accepted, lines, *others, project, hour.number),
        )
        if lines:
            connection.execute(
                "INSERT INTO event_date VALUES (?, ?, ?, ?) ON CONFLICT (project, hour, date) "
                "DO UPDATE SET events = events + excluded.events",
                (project, hour.number, hour.date, lines),
            )

    def merge(self, hour: Hour, *pairs: tuple[int, int], organization: int = ORGANIZATION) -> None:
        """Commit merges of (loser, survivor) as one record, a second into the hour."""
        stamp = hour.start_micros + 1_000_500
        millis = stamp // 1000
        rows = [
            (loser, survivor, organization, hour.number, stamp, millis - loser % 1000, millis)
            for loser, survivor in pairs
        ]
        with self.store.transaction() as connection:
            processing_rows.write_merges(connection, rows)

    def leave(self, hour: Hour) -> None:
        """Let the committed position be past the hour."""
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO position VALUES (?, 1, ?)", (PARTITION, hour.end_micros)
            )

    def seal(self, hour: Hour) -> None:
        """Let the domain leave the hour, and close all that is left."""
        self.leave(hour)
        self.closer.finish()

    def sealed(self, scope: int, hour: Hour) -> SealedHour:
        """Return an hour as the ledger holds it."""
        sealed = self.ledger.sealed_hour(scope, hour)
        assert sealed is not None
        return sealed

    def content(self, file: SealedFile) -> bytes:
        """Return a file's lines, read in one shot as a single gzip member."""
        data = self.archive.file_path(file.scope, file.hour, file.name).read_bytes()
        reader = zlib.decompressobj(wbits=31)
        raw = reader.decompress(data)
        assert reader.eof
        assert reader.unused_data == b""
        return raw

    def texts(self, scope: int, hour: Hour) -> list[str]:
        """Return what the lines of a sealed hour say, in order."""
        raw = b"".join(self.content(file) for file in self.sealed(scope, hour).files)
        return [json.loads(line)["event_type"] for line in raw.splitlines()]

    def close(self) -> None:
        """Let go of everything, as a process that ends."""
        self.closer.close()
        self.store.close()
        self.engine.dispose()


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path, empty_database: bytes) -> Iterator[MakeWorld]:
    """Make worlds; without a folder all are over the same one, as restarts are."""
    made: list[World] = []

    def make(
        folder: Path | None = None,
        *,
        partition_bytes: int = 64 * 1024 * 1024,
        ledger: HandOver | None = None,
        files: Files | None = None,
        early: bool = True,
    ) -> World:
        folder = folder or tmp_path
        path = folder / "tailrace.sqlite"
        if not path.exists():
            path.write_bytes(empty_database)
        world = World(
            folder,
            partition_bytes=partition_bytes,
            ledger=ledger,
            files=files,
            early=early,
        )
        made.append(world)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A data folder with nothing in it yet."""
    return make_world()


@pytest.fixture
def gzip_program() -> str:
    """The gzip program's path."""
    found = shutil.which("gzip")
    assert found is not None
    return found
