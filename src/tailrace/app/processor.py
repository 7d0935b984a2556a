"""The processor part: one loop that processes the log, commits, and seals the hours it has left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from tailrace.app.part import PartContext
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS, Clock
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position
from tailrace.log.retention import remove_segments
from tailrace.log.rounds import read_round
from tailrace.process.loop import Processor
from tailrace.seal.closer import SEALED_THROUGH, Closer
from tailrace.seal.disk import DiskGuard, DiskLevel, checkpoints_allowed, sealing_allowed
from tailrace.seal.evict import Evictor
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger
from tailrace.state.processing import HourSettings, ProcessingStore

log = structlog.get_logger()

# How long a record lies in the log of an idle service before it is processed.
IDLE_SECONDS = 0.05
# Removing old segments and files is never urgent.
UPKEEP_MICROS = 60 * MICROS


def run(context: PartContext) -> None:
    """Process until the part is stopped; any error ends it, and its next start goes on."""
    loop = _Loop(context)
    context.start_beating(loop.counters)
    try:
        loop.recover()
        while not context.stop.is_set():
            if not loop.turn():
                context.stop.wait(IDLE_SECONDS)
        loop.finish()
    finally:
        loop.close()
        context.end()


class LogRounds:
    """The log as the processor reads it."""

    def __init__(self, reader: LogReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        """Return the next entries of all partitions."""
        reached = {partition: place.position for partition, place in positions.items()}
        return read_round(self._reader, reached, self._clock, limit_bytes).entries


class _Loop:
    """The processor, the closer and their upkeep, driven by one thread."""

    def __init__(self, context: PartContext) -> None:
        folder, settings = context.folder, context.settings
        self._context = context
        self._clock = context.clock
        self._reader = LogReader(folder.log)
        self._archive = FolderArchive(folder.packs, folder.archive, context.files)
        self._engine = open_database(folder.database)
        self._ledger = Ledger(self._engine, self._clock)
        self._store = ProcessingStore.open(folder.processing_database, context.ids)
        self._processor = Processor(
            LogRounds(self._reader, self._clock),
            self._store,
            self._archive,
            self._clock,
            context.files,
            lambda project: HourSettings(),
            folder.path / "processing.lock",
        )
        self._closer = Closer(
            self._store,
            self._archive,
            self._ledger,
            epoch=self._processor.epoch,
            partition_bytes=settings.seal.partition_bytes,
            partitions=self._open_partitions,
            early=settings.export.early,
        )
        self._guard = DiskGuard.of_settings(context.files, folder.path, self._clock, settings.disk)
        self._evictor = Evictor(self._archive, self._ledger, self._clock, settings.archive)
        self._next_upkeep = 0
        self._level = DiskLevel.FREE
        self._counters = {"processed_entries": 0.0, "checkpoints": 0.0, "disk_reserves_broken": 0.0}

    def counters(self) -> dict[str, float]:
        """Return what this part counts of itself."""
        return dict(self._counters)

    def recover(self) -> None:
        """Refuse a log that is older than the state, and finish what a crash left."""
        for position in self._processor.positions.values():
            self._reader.check_position(position)
        self._closer.recover()

    def turn(self) -> bool:
        """Do one piece of each kind of work; say whether there was any."""
        level = self._disk_level()
        worked = False
        if checkpoints_allowed(level):
            entries = self._processor.run_round()
            self._counters["processed_entries"] += entries
            worked = entries > 0
            if self._processor.checkpoint_due():
                self._processor.checkpoint()
                self._counters["checkpoints"] += 1
                worked = True
        if sealing_allowed(level):
            worked = self._closer.step() or worked
        self._keep_up(level)
        return worked

    def finish(self) -> None:
        """Commit what is processed, so that the next start has nothing to repeat."""
        if checkpoints_allowed(self._guard.level()):
            self._processor.checkpoint()

    def close(self) -> None:
        """Give everything back."""
        self._closer.close()
        self._processor.close()
        self._store.close()
        self._reader.close()
        self._engine.dispose()

    def _disk_level(self) -> DiskLevel:
        """Return the level now, and say so when it is another one than before."""
        level = self._guard.level()
        if level > self._level:
            log.error("disk_reserve_broken", reserves_broken=int(level))
        elif level < self._level:
            log.info("disk_reserve_free_again", reserves_broken=int(level))
        self._level = level
        self._counters["disk_reserves_broken"] = float(level)
        return level

    def _open_partitions(self) -> Iterable[int]:
        committed = self._store.positions()
        reached = {partition: place.position for partition, place in committed.items()}
        return self._reader.partitions(reached)

    def _keep_up(self, level: DiskLevel) -> None:
        now = self._clock.steady_micros()
        if now < self._next_upkeep:
            return
        removed = self._evictor.step(level)
        if removed:
            log.info("archive_files_removed", files=removed)
        # With more files to remove, go on with the next turn; a step removes a bounded number.
        self._next_upkeep = now if removed else now + UPKEEP_MICROS
        self._remove_segments()

    def _remove_segments(self) -> None:
        sealed = self._store.meta(SEALED_THROUGH)
        if not isinstance(sealed, int):
            return
        keep_micros = self._context.settings.log.keep_hours * HOUR_MICROS
        oldest_kept = min(Hour(sealed).end_micros, self._clock.now_micros() - keep_micros)
        for partition, place in self._store.positions().items():
            removed = remove_segments(
                self._context.folder.log,
                partition,
                place.position,
                oldest_kept,
                self._context.files,
            )
            if removed:
                log.info("log_segments_removed", partition=partition, segments=removed)
