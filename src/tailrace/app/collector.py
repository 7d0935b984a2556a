"""A collector part: takes uploads on the shared socket and writes one partition of the log."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from tailrace.accounts.keys import KeyBook
from tailrace.app.heap import give_large_blocks_back
from tailrace.app.part import PartContext
from tailrace.app.refused import TELL_SECONDS, RefusedFile
from tailrace.app.sealed_exports import SealedFiles
from tailrace.app.user_mappings import MappingBook
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS
from tailrace.collect.counters import Counters
from tailrace.collect.keys import Keys
from tailrace.collect.limits import Limits
from tailrace.collect.rates import Rate, Rates
from tailrace.collect.refusals import Refusals
from tailrace.collect.runtime import new_event_loop, serve_collector
from tailrace.collect.server import Collector
from tailrace.errors import DiskReserve, TailraceError, Transient
from tailrace.log.partitions import partition_folder
from tailrace.log.record import Record
from tailrace.log.stamping import ClockState
from tailrace.log.writer import LogWriter
from tailrace.seal.disk import DiskGuard, appends_allowed, ticks_allowed
from tailrace.settings import CollectSettings
from tailrace.state.database import open_database
from tailrace.state.processing_view import ProcessingView

log = structlog.get_logger()

# An hour's end, a clock that jumped and the order to stop are noticed within this time.
TICK_SECONDS = 1.0
STOP_POLL_SECONDS = 0.1


def run(context: PartContext, partition: int, listening: socket.socket) -> None:
    """Collect until the part is stopped, or until the log fails and recovery has to decide."""
    give_large_blocks_back()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_collect(context, partition, listening))


async def _collect(context: PartContext, partition: int, listening: socket.socket) -> None:
    settings, folder = context.settings, context.folder
    engine = open_database(folder.database)
    guard = DiskGuard.of_settings(context.files, folder.path, context.clock, settings.disk)
    writing = _Log(context, partition, guard)
    writing.open_if_room()
    stop = asyncio.Event()
    failures: list[Exception] = []

    def log_failed(error: Exception) -> None:
        failures.append(error)
        stop.set()

    keys = Keys(KeyBook(engine), steady_seconds=lambda: context.clock.steady_micros() / MICROS)
    collector = Collector(
        writing.submit,
        keys,
        context.clock,
        limits=limits_of(settings.collect),
        rates=_rates(settings.collect),
        trusted_proxies=[ipaddress.ip_network(text) for text in settings.trusted_proxies],
        mappings=MappingBook(
            engine,
            ProcessingView(folder.processing_database),
            context.clock,
            lambda: appends_allowed(guard.level()),
        ),
        exports=SealedFiles(
            engine,
            ProcessingView(folder.processing_database),
            folder.log,
            FolderArchive(folder.packs, folder.archive, context.files),
            context.clock,
            bytes_max=settings.collect.export_bytes_max,
        ),
        log_failed=log_failed,
    )
    tasks = [
        asyncio.create_task(_watch_stop(context, stop)),
        asyncio.create_task(_tick(writing, stop, log_failed, lambda: ticks_allowed(guard.level()))),
        asyncio.create_task(keys.run(stop)),
        asyncio.create_task(_tell_refused(context, collector.refusals, stop)),
    ]
    try:
        # The collector does not listen before keys are loaded.
        await _load_keys(keys, stop)
        await serve_collector(
            collector,
            listening,
            stop,
            started=lambda: context.start_beating(
                lambda: _counts(collector.counters) | _clock(writing.clock_state)
            ),
        )
    finally:
        stop.set()
        for task in tasks:
            await task
        collector.close()
        keys.close()
        writing.close()
        context.end()
        engine.dispose()
    if failures:
        raise failures[0]


def limits_of(settings: CollectSettings) -> Limits:
    """Return how much a request may hold, as the settings say."""
    return Limits(
        httpapi_bytes_max=settings.httpapi_bytes_max,
        batch_bytes_max=settings.batch_bytes_max,
        events_max=settings.events_max,
        id_length_min=settings.id_length_min,
    )


async def _load_keys(keys: Keys, stop: asyncio.Event) -> None:
    """Wait until the keys are read once; `keys.run` goes on trying."""
    while not keys.readable and not stop.is_set():
        await asyncio.sleep(STOP_POLL_SECONDS)


async def _watch_stop(context: PartContext, stop: asyncio.Event) -> None:
    while not context.stop.is_set() and not stop.is_set():
        await asyncio.sleep(STOP_POLL_SECONDS)
    stop.set()


async def _tick(
    writing: _Log,
    stop: asyncio.Event,
    log_failed: Callable[[Exception], None],
    allowed: Callable[[], bool],
) -> None:
    """Let the log say that an hour is over, and notice a clock that went wrong."""
    said = False
    while not stop.is_set():
        try:
            if allowed() and writing.open_if_room():
                await writing.tick_if_due()
        except Transient as error:
            log.warning("tick_waits", reason=str(error))
        except (TailraceError, OSError) as error:
            log_failed(error)
            return
        state = writing.clock_state
        if state is not None and state.alarm and not said:
            log.error(
                "clock_alarm",
                condition=state.condition,
                off_by_seconds=state.off_by_micros / MICROS,
            )
        said = state is not None and state.alarm
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_SECONDS)


async def _tell_refused(context: PartContext, refusals: Refusals, stop: asyncio.Event) -> None:
    """Let the pages know what was refused, while there is something new."""
    file, told = RefusedFile(context.folder.run, context.name, context.files), 0
    while not stop.is_set():
        if refusals.changes != told:
            told = refusals.changes
            await asyncio.to_thread(file.write, refusals.all())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TELL_SECONDS)
    file.remove()


class _Log:
    """The partition's writer, from the moment on at which the disk has room to open it.

    Until then uploads get 503, and the other parts go on delivering what is stored.
    """

    def __init__(self, context: PartContext, partition: int, guard: DiskGuard) -> None:
        self._context = context
        self._partition = partition
        self._guard = guard
        self._writer: LogWriter | None = None

    def open_if_room(self) -> bool:
        """Open the writer unless it is; return False while the disk is too full for that."""
        if self._writer is not None:
            return True
        context = self._context
        try:
            self._writer = LogWriter.open(
                partition_folder(context.folder.log, self._partition),
                partition=self._partition,
                clock=context.clock,
                files=context.files,
                known_end=known_end(context.folder.processing_database, self._partition),
                has_room=lambda: appends_allowed(self._guard.level()),
            )
        except (OSError, Transient) as error:
            if not _is_full(error):
                raise
            log.error("log_waits_for_room", reason=str(error))
            return False
        return True

    def submit(self, record: Record) -> asyncio.Future[int]:
        """Append as `LogWriter.submit` does, or raise `DiskReserve` while there is no writer."""
        if self._writer is None:
            raise DiskReserve(f"The disk has no room to open partition {self._partition}.")
        return self._writer.submit(record)

    async def tick_if_due(self) -> None:
        """Write a tick if one is due."""
        if self._writer is not None:
            await self._writer.tick_if_due()

    @property
    def clock_state(self) -> ClockState | None:
        """What the writer thinks of the clock; None while there is no writer."""
        return None if self._writer is None else self._writer.clock_state

    def close(self) -> None:
        """Close the writer if there is one."""
        if self._writer is not None:
            self._writer.close()


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _rates(settings: CollectSettings) -> Rates | None:
    if not settings.rate_limits:
        return None
    return Rates(
        {
            **dict.fromkeys(
                ("/2/httpapi", "/identify", "/groupidentify", "/"),
                Rate(settings.httpapi_events_per_second),
            ),
            "/batch": Rate(settings.batch_events_per_second, settings.batch_events_per_day),
        }
    )


def known_end(database: Path, partition: int) -> int:
    """Return the position up to which a partition is processed and committed; 0 for none."""
    positions = ProcessingView(database).positions()
    return next((row.position for row in positions if row.partition == partition), 0)


def _clock(state: ClockState | None) -> dict[str, float]:
    condition = None if state is None else state.condition
    return {
        "clock_stepped": float(condition == "stepped"),
        "clock_behind": float(state is not None and state.alarm and condition == "behind"),
    }


def _counts(counters: Counters) -> dict[str, float]:
    requests = counters.requests.copy()
    return {
        "requests": sum(requests.values()),
        "requests_ok": requests[200],
        "requests_refused": sum(n for status, n in requests.items() if 400 <= status < 500),
        "requests_unavailable": sum(n for status, n in requests.items() if status >= 500),
        "requests_throttled": requests[429],
        "events_throttled": counters.events_throttled,
        "rates_forgotten": counters.rates_forgotten,
        "exports_cut": counters.exports_cut,
        "events": counters.events_accepted,
        "body_bytes": counters.bytes_accepted,
        "append_seconds": counters.append_wait_seconds,
    }
