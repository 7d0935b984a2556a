"""`Tail`: the newest segment of a partition, written group by group. Used by `LogWriter` alone.

It rules what a failure means: bytes that can be cut away were never there; after a sync or a cut
that failed nobody knows, and only recovery may decide.
"""

from __future__ import annotations

from pathlib import Path

from tailrace import killpoints
from tailrace.errors import TailraceError, Transient
from tailrace.files import AppendFile, Files, Lock
from tailrace.log.end import End, EndFile
from tailrace.log.frame import encode_frame, encode_group
from tailrace.log.recover import Recovered
from tailrace.log.segment import SEGMENT_HEADER_BYTES, Segment, SegmentNotBegun, create_segment

# Recovery reads at most this much again, and disk is given back in pieces of this size.
SEGMENT_BYTES = 256 * 1024 * 1024


class WriteFailed(Transient):
    """The disk refused a group; it was cut away whole, so nothing of it is stored."""


class LogBroken(TailraceError):
    """What was being written may be stored or not; the process has to end."""


class Batch:
    """One group in the making: its frames, laid out from the tail's position."""

    def __init__(self, end: End, position: int) -> None:
        self.position = position
        self.end = end
        group = encode_group(end.position, end.stamp, position)
        self._parts = [group]
        self.next_position = position + len(group)

    def add(self, kind: int, stamp: int, payload: tuple[bytes, ...]) -> None:
        """Lay out one more entry."""
        parts = encode_frame(kind, stamp, self.next_position, payload)
        self._parts += parts
        self.next_position += sum(map(len, parts))
        self.end = End(self.next_position, stamp)

    def data(self) -> bytes:
        """Return the group's bytes, so that one write takes them all."""
        return b"".join(self._parts)


class Tail:
    """Append groups durably. One thread at a time."""

    def __init__(
        self,
        folder: Path,
        files: Files,
        recovered: Recovered,
        end_file: EndFile,
        lock: Lock,
        segment_bytes: int,
    ) -> None:
        if recovered.segment is None or recovered.file is None:
            raise ValueError("a partition with a final entry has no tail")
        self.end = recovered.end
        self.cut_bytes = recovered.cut_bytes
        self._folder = folder
        self._files = files
        self._segment: Segment = recovered.segment
        self._file: AppendFile | None = recovered.file
        self._position = recovered.segment.first_position
        self._end_file = end_file
        self._lock = lock
        self._segment_bytes = segment_bytes

    def begin(self) -> Batch:
        """Return an empty group at the tail, in a new segment if the newest is full or was cut.

        Raise `LogBroken` if the partition may belong to another process now.
        """
        self._check_lock()
        full = self._position - self._segment.base >= self._segment_bytes
        if self._file is not None and full and self._has_entries():
            self._file.close()
            self._file = None
        if self._file is None:
            self._roll()
        return Batch(self.end, self._position)

    def commit(self, batch: Batch) -> None:
        """Make a group durable and publish its end; on return a crash can't lose it.

        Raise `WriteFailed` if nothing of it is stored and `LogBroken` if that is not sure.
        """
        file = self._file
        if file is None:
            raise ValueError("commit without begin")
        data = batch.data()
        try:
            written = file.write(data)
        except OSError as error:
            self._cut_back(file, batch)
            raise self._write_failed(str(error)) from error
        if written != len(data):
            self._cut_back(file, batch)
            raise self._write_failed(f"only {written} of {len(data)} bytes were taken")
        killpoints.reached("log.written")
        try:
            # From here on a crash can't lose the group; no request is answered before.
            file.sync_data()
            # Whoever took the partition over while this process stood still read the log before
            # these bytes came, or will find them: nobody knows which.
            self._check_lock()
            self._end_file.publish(batch.end)
        except OSError as error:
            raise self._broken("cannot be brought to the disk", error) from error
        self._position = batch.next_position
        self.end = batch.end

    def close(self) -> None:
        """Close the files and give the lock back; writes nothing."""
        if self._file is not None:
            self._file.close()
        self._end_file.close()
        self._lock.release()

    def _roll(self) -> None:
        """Begin a new segment at the tail's position."""
        # The old name may have failed half-way, and no position is used twice.
        base, self._position = self._position, self._position + SEGMENT_HEADER_BYTES
        previous = self._segment
        try:
            self._segment, self._file = create_segment(
                self._folder,
                self._files,
                partition=previous.partition,
                base=base,
                previous_base=previous.base if self._has_entries() else previous.previous_base,
                previous_end=self.end,
            )
        except SegmentNotBegun as error:
            raise self._write_failed(str(error)) from error
        except OSError as error:
            raise self._broken("can't get a new segment", error) from error
        killpoints.reached("log.rolled")

    def _cut_back(self, file: AppendFile, batch: Batch) -> None:
        """Cut the file to the durable end; the next group goes into a new segment.

        Its positions lie beyond every byte that may have been written.
        """
        segment = self._segment
        durable = self.end.position if self._has_entries() else segment.first_position
        self._position = batch.next_position
        self._file = None
        try:
            file.truncate(durable - segment.base)
            file.sync_data()
            if not self._has_entries():
                self._files.remove(segment.path)
        except OSError as error:
            raise self._broken("can't be cut back after a write that failed", error) from error
        finally:
            file.close()

    def _check_lock(self) -> None:
        if self._lock.is_lost():
            lost = OSError(f"its lock {self._lock.path} is gone, so another may write here")
            raise self._broken("cannot be written to", lost)

    def _has_entries(self) -> bool:
        """Whether anything durable lies in the newest segment; one without is replaced."""
        return self.end.position > self._segment.first_position

    def _write_failed(self, reason: str) -> WriteFailed:
        return WriteFailed(
            f"Cannot write to the log in {self._folder}: {reason}. Nothing was stored; free some "
            "disk space or look at the disk, then send again."
        )

    def _broken(self, what: str, error: OSError) -> LogBroken:
        return LogBroken(
            f"The log in {self._folder} {what}: {error}. What was being sent may be stored or not. "
            "The process has to end; look at the disk, then start again."
        )
