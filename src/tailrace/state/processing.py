"""`ProcessingStore`: the processing database, written by the processor's main thread alone.

`process` commits checkpoints to it; `seal` records files and sealed hours on the same connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tailrace.errors import InUse, NewerFormat
from tailrace.hours import Hour
from tailrace.ids import Ids
from tailrace.state import merges, sealing
from tailrace.state.processing_formats import bring_up
from tailrace.state.processing_schema import FORMAT, SCHEMA, SEEDED
from tailrace.state.turns import make_private

# A reader of status holds its read lock for milliseconds; half a minute is a stuck disk.
BUSY_SECONDS = 30.0
# SQLite's own page cache; with the read caches and 64 MiB of lines it stays under the memory bar.
PAGE_CACHE_KIB = 32 * 1024
# Pages beyond SQLite's own cache are read where they lie, in the system's, and not copied: with a
# million users that saves a fifth of processing. It is address space, not memory; SQLite maps no
# more than this of a file.
MAPPED_BYTES_MAX = 2 * 1024**3
# The write-ahead file is cut back to this after a checkpoint that made it larger.
JOURNAL_BYTES_MAX = 64 * 1024 * 1024

# Below 2^53, so that every JSON reader keeps them exact; 12 digits as the product's own.
FIRST_AMPLITUDE_ID = 100_000_000_001


class HourSettings(msgspec.Struct, frozen=True):
    """What of a project's settings shapes its lines; kept with the hour from its first record.

    `places` is the SHA-256 of the file in which places are looked up, `devices` the version of the
    rules by which user agents were read when the hour began; None: neither read, nor devices named.
    Hours of earlier releases
    have fewer of these: each default is how lines were before there was a choice.
    """

    schema_number: int | None = 12
    places: str | None = None
    extended_columns: bool = False
    drop_ip: bool = False
    drop_location: bool = False
    devices: str | None = None
    drop_bots: bool = False
    keep_advertising_ids: bool = False


class CommittedPosition(msgspec.Struct, frozen=True):
    """How far a partition is processed for good; `stamp` is its last entry's, in microseconds."""

    partition: int
    position: int
    stamp: int


class Move(msgspec.Struct, frozen=True):
    """A partition's step in one checkpoint: from where it was read on, to where it is now."""

    partition: int
    read_from: int
    position: int
    stamp: int


class ProcessingStore:
    """One connection; every write is inside `transaction` or `checkpoint`.

    `keys_folder` lies beside the database and holds the large runs of dedupe keys.
    `reserved_chunks` are the ids of chunks that a running join reads: they are neither rewritten
    nor is their pack removed.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.keys_folder = path.with_name(f"{path.stem}-keys")
        self._path = path
        self.reserved_chunks: set[int] = set()
        self._begun = False

    @classmethod
    def open(cls, path: Path, ids: Ids) -> ProcessingStore:
        """Open or create the database; raise `NewerFormat` for a later release's."""
        make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                f"cache_size = -{PAGE_CACHE_KIB}",
                f"mmap_size = {MAPPED_BYTES_MAX}",
                f"journal_size_limit = {JOURNAL_BYTES_MAX}",
                "temp_store = MEMORY",
            ):
                connection.execute(f"PRAGMA {pragma}")
            store = cls(path, connection)
            store._prepare(path, ids)
        except BaseException:
            connection.close()
            raise
        return store

    def _prepare(self, path: Path, ids: Ids) -> None:
        if self._has_tables():
            found = self.meta_number("format")
            if found > FORMAT:
                raise NewerFormat(
                    f"Cannot open {path}: its format is {found}, this release knows {FORMAT}. "
                    "Start the newer release that wrote it."
                )
        with self.transaction():
            merges.upgrade(self.connection)
            for statement in _statements(SCHEMA + sealing.SCHEMA + merges.SCHEMA):
                self.connection.execute(statement)
            first = {
                "format": FORMAT,
                "epoch": 0,
                "uuid_key": ids.random_bytes(32),
                "dedupe_key": ids.random_bytes(32),
                "dedupe_hash": SEEDED,
                "next_amplitude_id": FIRST_AMPLITUDE_ID,
                "next_sequence": 1,
            }
            self.connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", first.items())
            found = self.meta_number("format")
            if found < FORMAT:
                bring_up(self.connection, found)
                self.set_meta("format", FORMAT)

    def _has_tables(self) -> bool:
        found = self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'")
        return found.fetchone() is not None

    def close(self) -> None:
        """Close the connection; what is not committed is gone."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block writes, durably, or nothing of it when it raises."""
        self.connection.execute("BEGIN IMMEDIATE")
        with self._finished():
            yield self.connection

    @contextmanager
    def _finished(self) -> Iterator[None]:
        """Commit the open transaction after the block, or roll it back where that raises."""
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    @contextmanager
    def owned_transaction(self, epoch: int) -> Iterator[sqlite3.Connection]:
        """As `transaction`, but raise `InUse` at once if a later processor drew an epoch."""
        with self.transaction() as connection:
            _check_owner(connection, epoch)
            yield connection

    @contextmanager
    def fence(self, epoch: int) -> Iterator[None]:
        """Let no later processor draw its epoch before the block has ended; write nothing.

        Any thread may call, on a connection of its own. Raise `InUse` if a later one has drawn it.
        """
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            _check_owner(connection, epoch)
            yield
        finally:
            connection.close()

    def merges(self, organization: int, hour: Hour) -> Iterator[merges.Line]:
        """Yield an hour's merges in the order of their records.

        Any thread may call, on a connection of its own. An hour that is left gets no more.
        """
        uri = f"{self._path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)
        try:
            yield from merges.lines(connection, organization, hour.number)
        finally:
            connection.close()

    @contextmanager
    def checkpoint(self, epoch: int, moves: Sequence[Move]) -> Iterator[sqlite3.Connection]:
        """Move the positions as the first step of one transaction with all that the block writes.

        It is the one of `begin_checkpoint`, if that was called.
        Raises `InUse`, with nothing changed, when the epoch or a position is not as it was read.
        """
        with self._begun_transaction(epoch) as connection:
            for move in moves:
                connection.execute(
                    "INSERT OR IGNORE INTO position VALUES (?, 0, 0)", (move.partition,)
                )
                changed = connection.execute(
                    "UPDATE position SET position = ?, stamp = ? WHERE partition = ? "
                    "AND position = ? AND (SELECT value FROM meta WHERE name = 'epoch') = ?",
                    (move.position, move.stamp, move.partition, move.read_from, epoch),
                ).rowcount
                if changed != 1:
                    raise InUse(
                        f"Cannot commit partition {move.partition} from {move.read_from}: the "
                        "database is at another position. Another processor took over; this one "
                        "must end."
                    )
            yield connection

    def begin_checkpoint(self, epoch: int) -> None:
        """Begin the next checkpoint's transaction, so that parts of it can be written ahead.

        Until that checkpoint every other transaction of this store is refused by SQLite. Raises
        `InUse`, with nothing begun, if a later processor drew an epoch.
        """
        if self._begun:
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            _check_owner(self.connection, epoch)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self._begun = True

    @contextmanager
    def _begun_transaction(self, epoch: int) -> Iterator[sqlite3.Connection]:
        self.begin_checkpoint(epoch)
        try:
            with self._finished():
                yield self.connection
        finally:
            self._begun = False

    def draw_epoch(self) -> int:
        """Take and return the next epoch; whoever held an earlier one can commit no more."""
        with self.transaction():
            epoch = self.meta_number("epoch") + 1
            self.set_meta("epoch", epoch)
        return epoch

    def meta(self, name: str, default: object = None) -> object:
        """Return a named value, or `default` if none is stored."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else row[0]

    def set_meta(self, name: str, value: object) -> None:
        """Store a named value; inside a transaction."""
        self.connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?",
            (name, value, value),
        )

    def meta_number(self, name: str) -> int:
        """Return a named number that the database was made with."""
        value = self.meta(name)
        if not isinstance(value, int):
            raise TypeError(f"The processing database keeps no number named {name!r}.")
        return value

    def meta_bytes(self, name: str) -> bytes:
        """Return named bytes that the database was made with."""
        value = self.meta(name)
        if not isinstance(value, bytes):
            raise TypeError(f"The processing database keeps no bytes named {name!r}.")
        return value

    def meta_text(self, name: str) -> str:
        """Return a named text that the database was made with."""
        value = self.meta(name)
        if not isinstance(value, str):
            raise TypeError(f"The processing database keeps no text named {name!r}.")
        return value

    def positions(self) -> dict[int, CommittedPosition]:
        """Return the committed position of every partition that was ever read."""
        rows = self.connection.execute("SELECT partition, position, stamp FROM position")
        return {row[0]: CommittedPosition(*row) for row in rows}

    def places_in_use(self) -> set[str]:
        """Return the digests of place files that hours name which may be processed again."""
        stamps = [position.stamp for position in self.positions().values()]
        rows = self.connection.execute(
            "SELECT DISTINCT settings ->> 'places' FROM project_hour WHERE hour >= ?",
            (Hour.of_micros(min(stamps)).number if stamps else 0,),
        )
        return {row[0] for row in rows if row[0] is not None}

    def left_through(self, partitions: Iterable[int]) -> Hour | None:
        """Return the last hour that the committed positions of all `partitions` have left.

        None while a partition has committed nothing, and for no partitions. Give every partition
        that is listed and not retired.
        """
        committed = self.positions()
        return left_hour({number: place.stamp for number, place in committed.items()}, partitions)


def left_hour(stamps: Mapping[int, int], partitions: Iterable[int]) -> Hour | None:
    """Return the last hour that the committed `stamps` (micros) of all `partitions` have left."""
    found = [stamps.get(number, 0) for number in partitions]
    if not found or min(found) == 0:
        return None
    return Hour.of_micros(min(found)).previous()


def _check_owner(connection: sqlite3.Connection, epoch: int) -> None:
    (owner,) = connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
    if owner != epoch:
        raise InUse(
            f"Cannot write the processing database: epoch {owner} owns it, this processor "
            f"has {epoch}. Another processor took over; this one must end."
        )


def _statements(schema: str) -> list[str]:
    return [statement for statement in schema.split(";") if statement.strip()]
