"""`LogWriter`: the only way into the log. An append returns when its record is on disk.

All appends that wait share one write and one fdatasync, made by one committing thread. Owned by a
collector process; it holds the partition's lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from tailrace import killpoints
from tailrace.clock import Clock
from tailrace.errors import DiskReserve, TailraceError, Transient
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.log.end import End, EndFile
from tailrace.log.frame import FINAL, RECORD, TICK, check_length
from tailrace.log.partitions import (
    Siblings,
    mark_retired,
    register_partition,
    retired_error,
)
from tailrace.log.record import Record, encode_record
from tailrace.log.recover import recover
from tailrace.log.stamping import ClockState, Stamper
from tailrace.log.tail import SEGMENT_BYTES, Batch, LogBroken, Tail, WriteFailed

# A group is copied once to be written at once; this bounds the copy. One fsync of 8 MiB costs
# little more than one of a single record.
GROUP_BYTES_MAX = 8 * 1024 * 1024

# The collector's own budget (96 MiB) is met first; this holds if it is ever wrong.
WAITING_BYTES_MAX = 128 * 1024 * 1024

# After a group of several the next one may be as large for a sync less: this long more come to it.
# A lone request never waits.
LINGER_SECONDS = 0.001

_log = structlog.get_logger()


class _Append(msgspec.Struct, frozen=True, gc=False):
    """What is to be appended."""

    kind: int
    payload: tuple[bytes, ...] = ()


class _Waiting(msgspec.Struct, frozen=True, eq=False):
    """One append that waits. `answer` gets the stamp; 0 for a tick that was not due."""

    append: _Append
    size: int
    answer: asyncio.Future[int]


_Outcome = int | TailraceError


class LogWriter:
    """Append to one partition. The methods belong to one event loop."""

    def __init__(
        self,
        log_folder: Path,
        partition: int,
        stamper: Stamper,
        siblings: Siblings,
        tail: Tail,
        files: Files,
        has_room: Callable[[], bool],
    ) -> None:
        self._files = files
        self._log_folder = log_folder
        self._partition = partition
        self._stamper = stamper
        self._siblings = siblings
        self._tail = tail
        self._has_room = has_room
        # What arrived since the loop last handed over, and what the thread has not taken yet.
        self._arrived: list[_Waiting] = []
        self._arrived_bytes = 0
        self._hands_over: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._refusal: TailraceError | None = None
        self._closing = False
        self._hurry = threading.Event()
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"log-{partition}", daemon=True)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        partition: int,
        clock: Clock,
        files: Files,
        known_end: int,
        has_room: Callable[[], bool] = lambda: True,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> LogWriter:
        """Take the partition's lock, list it, recover it, and write the first tick if one is due.

        `folder` is `log/{partition}`; `known_end` the position that a processor has committed, 0
        for none; `has_room` says, cheaply, whether appends may use the disk. Raise `InUse`,
        `Corrupt`, `NewerFormat` or `PartitionRetired`.
        """
        files.make_folder(folder)
        lock = files.lock(folder / "lock", f"the collector of log partition {partition}")
        try:
            # Listed before the siblings' stamps are read: whoever closes an hour without knowing
            # of this partition has read ends that this one's first stamp then passes.
            register_partition(folder.parent, partition, files)
            end_file = EndFile(folder)
        except BaseException:
            lock.release()
            raise
        try:
            recovered = recover(
                folder, partition=partition, known_end=known_end, files=files, end_file=end_file
            )
            if recovered.cut_bytes:
                _log.warning("log_cut", partition=partition, bytes=recovered.cut_bytes)
            if recovered.file is None:
                mark_retired(folder.parent, partition, recovered.end, files)
                raise retired_error(partition)
        except BaseException:
            end_file.close()
            lock.release()
            raise
        siblings = Siblings(folder.parent, partition)
        last_stamp = max(recovered.end.stamp, siblings.highest_stamp())
        writer = cls(
            folder.parent,
            partition,
            Stamper(folder.parent, partition, clock, last_stamp),
            siblings,
            Tail(folder, files, recovered, end_file, lock, segment_bytes),
            files,
            has_room,
        )
        try:
            writer._write([_Append(TICK)])
        except BaseException:
            writer._give_back()
            raise
        writer._thread.start()
        return writer

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    @property
    def cut_bytes(self) -> int:
        """How many unanswered bytes recovery cut."""
        return self._tail.cut_bytes

    @property
    def end(self) -> End:
        """The durable end."""
        return self._tail.end

    @property
    def clock_state(self) -> ClockState:
        """What the writer thinks of the machine's clock."""
        return self._stamper.state

    async def append(self, record: Record) -> int:
        """Store a record and return its stamp (microseconds); on return it is on disk.

        Raise what `submit` raises and its future holds.
        """
        return await self.submit(record)

    def submit(self, record: Record) -> asyncio.Future[int]:
        """Return a future that holds the record's stamp (microseconds) once it is on disk.

        `ClockStepped`, `DiskReserve` and any other `Transient`, raised or in the future, mean that
        nothing was stored; `BadRequest` that it is too large. After `LogBroken` it may be stored or
        not, and the process has to end.
        """
        payload = encode_record(record)
        check_length(len(payload[0]) + len(payload[1]))
        if not self._has_room():
            raise DiskReserve(
                f"Cannot take events on partition {self._partition} of the log: too little disk "
                "is free. Free some space; what is stored already goes on being delivered."
            )
        return self._enqueue(_Append(RECORD, payload))

    async def tick_if_due(self) -> bool:
        """Look at the clock, and write a tick if an hour ended without a record; say if so.

        Call it about once a second. Raise `LogBroken` or a `Transient` as `append` does.
        """
        return await self._enqueue(_Append(TICK)) > 0

    async def retire(self) -> End:
        """Write the partition's final entry and note it in the list; nothing follows it."""
        await self._enqueue(_Append(FINAL))
        mark_retired(self._log_folder, self._partition, self._tail.end, self._files)
        return self._tail.end

    def close(self) -> None:
        """Finish what waits, refuse what comes, and give the partition's lock back."""
        self._hand_over()
        self._hurry.set()
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._give_back()

    def _give_back(self) -> None:
        self._siblings.close()
        self._tail.close()

    def _enqueue(self, append: _Append) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        size = sum(map(len, append.payload))
        if self._refusal is not None:
            raise _again(self._refusal)
        if self._closing:
            raise Transient(f"Partition {self._partition} of the log is closing. Try again.")
        bytes_held = self._arrived_bytes + self._waiting_bytes
        if bytes_held + size > WAITING_BYTES_MAX:
            raise Transient(
                f"{bytes_held} bytes wait to be written to partition {self._partition} of the "
                "log, which is all it holds. Try again later."
            )
        answer: asyncio.Future[int] = loop.create_future()
        self._arrived.append(_Waiting(append, size, answer))
        self._arrived_bytes += size
        # One for all that the loop finds to do in this turn: waking the thread for each would
        # make the two fight for the interpreter, and give it groups of one.
        if self._hands_over is not loop:
            self._hands_over = loop
            loop.call_soon(self._hand_over)
        return answer

    def _hand_over(self) -> None:
        """Let the thread take all that arrived."""
        with self._wake:
            self._waiting += self._arrived
            self._waiting_bytes += self._arrived_bytes
            self._wake.notify()
        self._arrived, self._arrived_bytes, self._hands_over = [], 0, None

    def _run(self) -> None:
        while group := self._next_group():
            try:
                outcomes = self._write([waiting.append for waiting in group])
            except Exception as error:
                # The outermost loop: whoever waits must hear of it.
                failure = error if isinstance(error, TailraceError) else self._broken(error)
                if isinstance(failure, LogBroken):
                    self._refuse(failure)
                outcomes = [failure] * len(group)
            _answer(group, outcomes)
            if len(group) > 1:
                self._hurry.wait(LINGER_SECONDS)

    def _next_group(self) -> list[_Waiting]:
        """Return all that waits, up to `GROUP_BYTES_MAX`; nothing once closed and done."""
        group: list[_Waiting] = []
        size = 0
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            while self._waiting and (not group or size < GROUP_BYTES_MAX):
                group.append(self._waiting.popleft())
                size += group[-1].size
            self._waiting_bytes -= size
        return group

    def _refuse(self, error: TailraceError) -> None:
        with self._wake:
            self._refusal = error

    def _broken(self, error: Exception) -> LogBroken:
        broken = LogBroken(
            f"Partition {self._partition} of the log failed: {error!r}. The process has to end; "
            "its next start recovers the log."
        )
        broken.__cause__ = error
        return broken

    def _write(self, group: list[_Append]) -> list[_Outcome]:
        """Write one group, make it durable, publish its end; return what each append is told."""
        self._stamper.observe(self._sibling_stamp())
        outcomes: list[_Outcome] = []
        batch: Batch | None = None
        refusal = self._refusal
        for append in group:
            if refusal is not None:
                outcomes.append(refusal)
            elif append.kind == TICK and (batch is not None or not self._is_tick_due()):
                outcomes.append(0)
            elif self._stamper.is_stepped():
                outcomes.append(self._stamper.refusal())
            else:
                batch = batch or self._tail.begin()
                stamp = self._stamper.take()
                batch.add(append.kind, stamp, append.payload)
                outcomes.append(stamp)
                if append.kind == FINAL:
                    refusal = retired_error(self._partition)
        if batch is not None:
            self._tail.commit(batch)
            killpoints.reached("log.synced")
        if refusal is not None:
            self._refuse(refusal)
        return outcomes

    def _sibling_stamp(self) -> int:
        try:
            return self._siblings.highest_stamp()
        except OSError as error:
            raise WriteFailed(
                f"Cannot append to partition {self._partition} of the log: the other partitions' "
                f"ends can't be read: {error}. Nothing was stored; send again."
            ) from error

    def _is_tick_due(self) -> bool:
        """Whether an hour ended, by the log's own clock, after the last durable entry."""
        if self._stamper.is_stepped():
            return False
        last = self._tail.end.stamp
        return not last or Hour.of_micros(last) < Hour.of_micros(self._stamper.upcoming())


def _answer(group: list[_Waiting], outcomes: list[_Outcome]) -> None:
    """Tell everyone in the group, with one call into the event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], _Outcome]]] = {}
    for waiting, outcome in zip(group, outcomes, strict=True):
        by_loop.setdefault(waiting.answer.get_loop(), []).append((waiting.answer, outcome))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            # The loop is closed: nobody waits any more. What was stored stays stored.
            continue


def _resolve(answers: list[tuple[asyncio.Future[int], _Outcome]]) -> None:
    for answer, outcome in answers:
        if answer.done():
            # Its client went away; the record stays stored.
            continue
        if isinstance(outcome, TailraceError):
            answer.set_exception(_again(outcome))
        else:
            answer.set_result(outcome)


def _again(error: TailraceError) -> TailraceError:
    """Return the same error anew, since each raise makes an error's traceback longer."""
    again = type(error)(*error.args)
    again.__cause__ = error.__cause__
    return again
