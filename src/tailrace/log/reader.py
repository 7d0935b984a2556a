"""`LogReader`: durable entries in order, never past a partition's durable end.

It may be used while writers append, and needs none to run. Called by the processor, and by
`status` for the ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tailrace.clock import MICROS
from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.log.end import NOTHING, End, read_end
from tailrace.log.frame import FINAL, GROUP, RECORD, BadFrame, Frame, read_frames
from tailrace.log.partitions import Partition, list_partitions, partition_folder
from tailrace.log.record import Entry, Position, decode_record
from tailrace.log.recover import damaged
from tailrace.log.segment import Listing, list_segments, segment_end

# A writer's tick is due at the hour's end and looked for once a second; a busy disk may hold it up.
SILENT_AFTER_MICROS = 30 * MICROS

_SCAN_BLOCK_BYTES = 4 * 1024 * 1024


class _Open(msgspec.Struct, frozen=True):
    """The segment from which a partition is being read."""

    path: Path
    descriptor: int
    base: int
    first_position: int
    end: End | None


class LogReader:
    """Read all partitions of one log folder. One thread at a time."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._open: dict[int, _Open] = {}

    def close(self) -> None:
        """Close the files."""
        for opened in self._open.values():
            os.close(opened.descriptor)
        self._open.clear()

    def listed(self) -> list[Partition]:
        """Return every partition that ever was, retired ones included."""
        return list_partitions(self._log_folder)

    def partitions(self, read: Mapping[int, int] | None = None) -> list[int]:
        """Return the partitions that are to be reckoned with: all but those that ended for ever.

        A retired one still counts until its final entry is read; `read` gives the positions
        reached, by partition, and without it every listed partition counts.
        """
        reached = read or {}
        return [
            listed.id
            for listed in self.listed()
            if listed.retired is None
            or read is None
            or reached.get(listed.id, 0) < listed.retired.position
        ]

    def durable_ends(self) -> dict[int, End]:
        """Return how far each partition is durable; position 0 where nothing is published yet.

        After a power failure a published end may be older than what is durable, until the
        partition's writer has started again.
        """
        return {listed.id: self._durable_end(listed) for listed in self.listed()}

    def silent_partitions(self, now_micros: int) -> list[int]:
        """Return the partitions that hold an hour open: it is over, but their log doesn't say so.

        Their collector does not run, or its clock or disk keeps it from writing.
        """
        start = Hour.of_micros(now_micros - SILENT_AFTER_MICROS).start_micros
        ends = self.durable_ends()
        return [
            listed.id
            for listed in self.listed()
            if listed.retired is None and ends[listed.id].stamp < start
        ]

    def check_position(self, committed: Position) -> None:
        """Raise `Corrupt` if a processor's committed position lies beyond the log's end.

        An end that a power failure made older than the position is no reason: then the entries
        themselves decide.
        """
        folder = partition_folder(self._log_folder, committed.partition)
        end = read_end(folder) or NOTHING
        if committed.position <= end.position:
            return
        listing = list_segments(folder, committed.partition)
        try:
            reached = _walk(listing, committed.position)
        except BadFrame as error:
            reached = error.position
        if reached < committed.position:
            raise Corrupt(
                f"Cannot process the log in {folder}: position {committed.position} was processed "
                f"before, but the log ends at position {reached}. It was replaced or cut; restore "
                "the whole data folder from one backup."
            )

    def read(self, partition: int, after_position: int, limit_bytes: int) -> list[Entry]:
        """Return the next durable entries after a position, oldest first.

        At least one if there is any, else as many as lie in the next `limit_bytes` of the
        segment. An empty list means that the durable end is reached. Raise `Corrupt` for damage
        before the durable end and for entries that are gone.
        """
        end = self.durable_ends().get(partition, NOTHING)
        return self.read_until(partition, after_position, end, limit_bytes)

    def read_until(
        self, partition: int, after_position: int, end: End, limit_bytes: int
    ) -> list[Entry]:
        """Read as `read` does, up to an end that was published before."""
        position = after_position
        while position < end.position:
            opened = self._segment_at(partition, position, end)
            start = max(position, opened.first_position)
            until = end.position
            if opened.end is not None:
                until = min(until, opened.end.position)
            entries = self._entries(partition, opened, start, until, limit_bytes)
            if entries:
                return entries
            position = until
        return []

    def _durable_end(self, listed: Partition) -> End:
        # Where a retired one ended is in the list; no writer will publish that end again.
        published = read_end(partition_folder(self._log_folder, listed.id))
        return listed.retired or published or NOTHING

    def _entries(
        self, partition: int, opened: _Open, start: int, until: int, limit_bytes: int
    ) -> list[Entry]:
        try:
            for frames in read_frames(opened.descriptor, opened.base, start, until, limit_bytes):
                entries = [_entry(partition, frame) for frame in frames if frame.kind != GROUP]
                if entries:
                    return entries
        except BadFrame as error:
            raise damaged(opened.path, error.position, until) from error
        except Corrupt as error:
            raise Corrupt(f"Cannot read the log {opened.path}: {error}") from error
        return []

    def _segment_at(self, partition: int, position: int, end: End) -> _Open:
        """Return the open segment in which reading goes on at `position`."""
        opened = self._open.get(partition)
        if opened is not None and _holds(opened, position, end):
            return opened
        folder = partition_folder(self._log_folder, partition)
        listing = list_segments(folder, partition)
        if not listing.segments:
            raise Corrupt(
                f"Cannot read the log in {folder}: its segments are gone, but entries up to "
                f"position {end.position} were durable. Restore them from a backup."
            )
        index = listing.index_of(position)
        segment = listing.segments[index]
        if opened is not None:
            os.close(self._open.pop(partition).descriptor)
        opened = _Open(
            segment.path,
            os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC),
            segment.base,
            segment.first_position,
            segment_end(listing.segments, index),
        )
        self._open[partition] = opened
        return opened


def _walk(listing: Listing, until: int) -> int:
    """Return how far whole frames lead towards a position, from the beginning of its segment.

    What lies before that segment is as durable as the header that says where it ended; the oldest
    ones may be removed by now. Raise `BadFrame` where the frames break off.
    """
    if not listing.segments:
        return 0
    segment = listing.segments[listing.index_of(until)]
    position = segment.first_position
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stop = min(until, segment.base + os.fstat(descriptor).st_size)
        for frames in read_frames(descriptor, segment.base, position, stop, _SCAN_BLOCK_BYTES):
            position = frames[-1].next_position
    finally:
        os.close(descriptor)
    return position


def _holds(opened: _Open, position: int, end: End) -> bool:
    """Whether the next entries after `position` lie in the segment that is open."""
    if position < opened.base:
        return False
    if opened.end is not None:
        return position < opened.end.position
    # A later segment's base lies beyond every byte of this one; so does an end in it.
    return end.position <= opened.base + os.fstat(opened.descriptor).st_size


def _entry(partition: int, frame: Frame) -> Entry:
    return Entry(
        partition,
        frame.position,
        frame.next_position,
        frame.stamp,
        decode_record(frame.payload) if frame.kind == RECORD else None,
        final=frame.kind == FINAL,
    )
