"""The processor part: one loop that processes the log, commits, and seals the hours it has left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from tailrace.accounts.options import options_of
from tailrace.app.part import PartContext
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS, Clock
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position
from tailrace.log.retention import remove_segments
from tailrace.log.rounds import read_round
from tailrace.process.loop import Processor
from tailrace.process.places import Places
from tailrace.process.user_agents import rules_version
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
# How often a start that waits for disk space looks, and tries to free some.
ROOM_SECONDS = 1.0


def run(context: PartContext) -> None:
    """Process until the part is stopped; any error ends it, and its next start goes on."""
    room = Room(context)
    try:
        room.wait()
        if not context.stop.is_set():
            _process(context, room)
    finally:
        room.close()
        context.end()


def _process(context: PartContext, room: Room) -> None:
    loop = ProcessorLoop(context, room)
    context.start_beating(loop.counters)
    try:
        loop.recover()
        while not context.stop.is_set():
            if not loop.turn():
                context.stop.wait(IDLE_SECONDS)
        loop.finish()
    finally:
        loop.close()


class Room:
    """Disk space: what is left of it, and the archive, which can give some back."""

    def __init__(self, context: PartContext) -> None:
        folder, settings = context.folder, context.settings
        self._context = context
        self._engine = open_database(folder.database)
        self.ledger = Ledger(self._engine, context.clock)
        self.archive = FolderArchive(folder.packs, folder.archive, context.files)
        self._evictor = Evictor(self.archive, self.ledger, context.clock, settings.archive)
        self._guard = DiskGuard.of_settings(
            context.files, folder.path, context.clock, settings.disk
        )
        self._level = DiskLevel.FREE

    def wait(self) -> None:
        """Return once packs may be written, or at the stop: a start writes, so it has to wait."""
        while not checkpoints_allowed(level := self.level()) and not self._context.stop.is_set():
            self._context.beat({"disk_reserves_broken": float(level)})
            if not self.evict(level):
                self._context.stop.wait(ROOM_SECONDS)

    def level(self) -> DiskLevel:
        """Return the level now, and say so when it is another one than before."""
        level = self._guard.level()
        if level > self._level:
            log.error("disk_reserve_broken", reserves_broken=int(level))
        elif level < self._level:
            log.info("disk_reserve_free_again", reserves_broken=int(level))
        self._level = level
        return level

    def evict(self, level: DiskLevel) -> bool:
        """Drop a bounded number of files, if any have to go; say whether there may be more."""
        removed = self._evictor.step(level)
        if removed:
            log.info("archive_files_removed", files=removed)
        return removed > 0

    def settings_of(self, project: int, places: str | None) -> HourSettings:
        """Return what a project's lines are to be like in an hour that opens now.

        `places` is the SHA-256 of the file of places that is to be used.
        """
        options = options_of(self._engine, project)
        return HourSettings(
            schema_number=options.schema_number,
            places=places,
            extended_columns=options.extended_columns,
            drop_ip=options.drop_ip,
            drop_location=options.drop_location,
            devices=rules_version(),
            drop_bots=options.drop_bots,
            keep_advertising_ids=options.keep_advertising_ids,
        )

    def close(self) -> None:
        """Give the database back."""
        self._engine.dispose()


class LogRounds:
    """The log as the processor reads it."""

    def __init__(self, reader: LogReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        """Return the next entries of all partitions."""
        reached = {partition: place.position for partition, place in positions.items()}
        return read_round(self._reader, reached, self._clock, limit_bytes).entries


class ProcessorLoop:
    """The processor, the closer and their upkeep, driven by one thread."""

    def __init__(self, context: PartContext, room: Room) -> None:
        folder, settings = context.folder, context.settings
        self._context = context
        self._room = room
        self._clock = context.clock
        self._reader = LogReader(folder.log)
        self._store = ProcessingStore.open(folder.processing_database, context.ids)
        places = Places.adopt(settings.places.database, folder.places, context.files)
        self._processor = Processor(
            LogRounds(self._reader, self._clock),
            self._store,
            room.archive,
            self._clock,
            context.files,
            lambda project: room.settings_of(project, places.current),
            folder.path / "processing.lock",
            settings.process.property_updates_per_hour or None,
            places,
        )
        # Only the processor's lock makes sure that no other one reads these files.
        places.remove_unused(self._store.places_in_use)
        self._closer = Closer(
            self._store,
            room.archive,
            room.ledger,
            epoch=self._processor.epoch,
            partition_bytes=settings.seal.partition_bytes,
            partitions=self._open_partitions,
            early=settings.export.early,
        )
        self._next_upkeep = 0
        self._counters = {"processed_entries": 0.0, "checkpoints": 0.0, "disk_reserves_broken": 0.0}

    def counters(self) -> dict[str, float]:
        """Return what this part counts of itself."""
        return self._counters | {
            "property_updates_dropped": self._processor.updates_dropped,
            "property_operations_ignored": self._processor.operations_ignored,
        }

    def recover(self) -> None:
        """Refuse a log that is older than the state, and finish what a crash left."""
        for position in self._processor.positions.values():
            self._reader.check_position(position)
        self._closer.recover()

    def turn(self) -> bool:
        """Do one piece of each kind of work; say whether there was any."""
        level = self._room.level()
        self._counters["disk_reserves_broken"] = float(level)
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

    def settle(self) -> None:
        """Turn until there is nothing to do for now, with every file under way made."""
        while self.turn() or self._closer.joining:
            if self._closer.joining:
                self._closer.finish()

    def finish(self) -> None:
        """Commit what is processed, so that the next start has nothing to repeat."""
        if checkpoints_allowed(self._room.level()):
            self._processor.checkpoint()

    def close(self) -> None:
        """Give everything back."""
        self._closer.close()
        self._processor.close()
        self._store.close()
        self._reader.close()

    def _open_partitions(self) -> Iterable[int]:
        committed = self._store.positions()
        reached = {partition: place.position for partition, place in committed.items()}
        return self._reader.partitions(reached)

    def _keep_up(self, level: DiskLevel) -> None:
        now = self._clock.steady_micros()
        if now < self._next_upkeep:
            return
        # With more files to remove, go on with the next turn.
        self._next_upkeep = now if self._room.evict(level) else now + UPKEEP_MICROS
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
