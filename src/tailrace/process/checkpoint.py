"""The only commit: a pack with all open lines, then one transaction with everything else.

Where more comes up between two commits than memory holds, packs and rows are written ahead of it.

Called by the processor; whatever is raised here ends the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from tailrace import killpoints
from tailrace.archive.folder import PACK_HEADER, pack_epoch, pack_name
from tailrace.errors import Corrupt
from tailrace.files import Buffer
from tailrace.hours import Hour
from tailrace.process.chunks import (
    SMALL_RAW_BYTES,
    Deflater,
    OpenHour,
    drained,
    inflate,
    mergeable,
)
from tailrace.process.dedupe import Dedupe
from tailrace.process.state import State
from tailrace.state import processing_rows as rows
from tailrace.state.dates import dates_of
from tailrace.state.processing import Move, ProcessingStore
from tailrace.state.processing_rows import ChunkRow, HeldRow, Place

# Small chunks looked at for one rewrite; more of them wait for the next checkpoint.
SMALL_CHUNKS_MAX = 1000


class PackArchive(Protocol):
    """Where packs are kept; on return from `put_pack` a crash can't lose it."""

    def put_pack(self, name: str, chunks: Iterable[Buffer]) -> int:
        """Write a whole pack under a name that is used once."""
        ...

    def read_pack(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of a pack."""
        ...

    def pack_names(self) -> list[str]:
        """Return the names of all packs."""
        ...

    def remove_pack(self, name: str) -> None:
        """Remove a pack that no row names."""
        ...

    def remove_unfinished_packs(self, before_epoch: int) -> None:
        """Remove what processes of earlier epochs left half-written."""
        ...


class Changes(msgspec.Struct):
    """All that one checkpoint commits."""

    moves: Sequence[Move]
    hours: Sequence[OpenHour]
    held: Sequence[HeldRow]
    retried: Sequence[Place]
    last_stamp: int


class Checkpoints:
    """Writes checkpoints of one epoch, one after the other."""

    def __init__(self, store: ProcessingStore, archive: PackArchive, epoch: int) -> None:
        self._store = store
        self._archive = archive
        self._epoch = epoch
        self._packs = 0
        self._next_sequence = store.meta_number("next_sequence")
        # Of packs that were put ahead; the next commit brings their rows.
        self._ahead: list[ChunkRow] = []
        self._deflater = Deflater()
        self._cleaned = False

    def commit(self, changes: Changes, dedupe: Dedupe, state: State) -> None:
        """Make everything since the last checkpoint durable: output, position and state at once.

        Raises `InUse` if another processor took over, `Corrupt` if an hour's counts do not balance.
        """
        for hour in changes.hours:
            _check_balance(hour)
        chunks, rewritten = self._put_pack(changes.hours)
        chunks = self._ahead + chunks
        killpoints.reached("checkpoint.packed")
        with self._store.checkpoint(self._epoch, changes.moves) as connection:
            rows.remove_chunks(connection, rewritten)
            rows.write_chunks(connection, chunks)
            rows.remove_held(connection, changes.retried)
            rows.write_held(connection, changes.held)
            rows.count_project_hours(connection, [_counts(hour) for hour in changes.hours])
            rows.count_event_dates(connection, _dates(changes.hours))
            state.write(connection)
            dedupe.write(connection, changes.last_stamp)
            self._store.set_meta("next_amplitude_id", state.identity.next_amplitude_id)
            self._store.set_meta("next_sequence", self._next_sequence)
        killpoints.reached("checkpoint.committed")
        self._ahead = []
        dedupe.saved()
        state.saved()
        for hour in changes.hours:
            hour.saved()
        self._remove_packs({row.pack for row in rewritten})
        self._remove_left_over_packs()

    def put_ahead(self, hours: Sequence[OpenHour]) -> None:
        """Put lines into a pack of their own; they count with the next commit or not at all."""
        for hour in hours:
            # Only a commit joins small chunks, as it forgets those that they were.
            hour.small_bytes = 0
        chunks, _ = self._put_pack(hours)
        self._ahead += chunks

    def write_ahead(self, state: State) -> None:
        """Write what state holds into the transaction of the next commit, which has to follow.

        No other transaction may begin before it. Raises as `commit` does.
        """
        self._store.begin_checkpoint(self._epoch)
        state.write(self._store.connection)
        state.saved()

    def _put_pack(self, hours: Sequence[OpenHour]) -> tuple[list[ChunkRow], list[ChunkRow]]:
        """Put all lines of these hours; return the chunks, and those that they replace."""
        chunks: list[ChunkRow] = []
        rewritten: list[ChunkRow] = []
        if any(hour.lines for hour in hours):
            name = pack_name(self._epoch, self._packs + 1)
            self._archive.put_pack(name, self._chunks(name, hours, chunks, rewritten))
            self._packs += 1
        return chunks, rewritten

    def _chunks(
        self,
        pack: str,
        hours: Sequence[OpenHour],
        chunks: list[ChunkRow],
        rewritten: list[ChunkRow],
    ) -> Iterator[bytes]:
        """Yield the pack's bytes; fill in its chunks, and those that they replace."""
        offset = len(PACK_HEADER)
        for hour in hours:
            if not hour.lines:
                continue
            for old in self._small_run(hour):
                raw = inflate(old, [self._read(row) for row in old])
                parts, crc, raw_length = self._deflater.deflate(iter([raw]))
                length = sum(map(len, parts))
                lines = sum(row.lines for row in old)
                chunks.append(
                    ChunkRow(
                        hour.project,
                        hour.hour,
                        old[0].sequence,
                        pack,
                        offset,
                        length,
                        crc,
                        raw_length,
                        lines,
                    )
                )
                rewritten.extend(old)
                offset += length
                yield from parts
            parts, crc, raw_length = self._deflater.deflate(drained(hour.lines))
            length = sum(map(len, parts))
            chunks.append(
                ChunkRow(
                    hour.project,
                    hour.hour,
                    self._next_sequence,
                    pack,
                    offset,
                    length,
                    crc,
                    raw_length,
                    hour.line_count,
                )
            )
            hour.packed()
            self._next_sequence += 1
            offset += length
            yield from parts
            # A large chunk ends the run: what lies before it can't be joined with what follows.
            hour.small_bytes = 0 if raw_length >= SMALL_RAW_BYTES else hour.small_bytes + raw_length

    def _small_run(self, hour: OpenHour) -> list[list[ChunkRow]]:
        if hour.small_bytes < SMALL_RAW_BYTES:
            return []
        newest = rows.newest_chunks(
            self._store.connection, hour.project, hour.hour, SMALL_CHUNKS_MAX
        )
        run = mergeable(newest, self._store.reserved_chunks)
        hour.small_bytes = 0
        return [run] if run else []

    def _read(self, row: ChunkRow) -> bytes:
        return self._archive.read_pack(row.pack, row.offset, row.length)

    def _remove_packs(self, packs: set[str]) -> None:
        for pack in sorted(packs):
            if not rows.pack_is_named(self._store.connection, pack):
                self._archive.remove_pack(pack)

    def _remove_left_over_packs(self) -> None:
        """After the first commit: remove what processors before this one left without a row."""
        if self._cleaned:
            return
        self._remove_packs(
            {name for name in self._archive.pack_names() if pack_epoch(name) < self._epoch}
        )
        self._archive.remove_unfinished_packs(self._epoch)
        self._cleaned = True


def _check_balance(hour: OpenHour) -> None:
    if not hour.tally.balances():
        raise Corrupt(
            f"Cannot commit project {hour.project}: of {hour.tally.accepted} accepted events not "
            f"all are accounted for ({hour.tally}). Keep the data folder and report this."
        )


def _counts(hour: OpenHour) -> rows.Row:
    tally = hour.tally
    return (
        tally.accepted,
        tally.exported,
        tally.duplicates,
        tally.identifies,
        tally.filtered,
        tally.held,
        hour.first_stamp,
        hour.last_stamp,
        hour.project,
        hour.hour,
    )


def _dates(hours: Sequence[OpenHour]) -> Iterator[rows.Row]:
    for hour in hours:
        for date, events in dates_of(Hour(hour.hour), hour.dates.items()):
            yield hour.project, hour.hour, date, events
