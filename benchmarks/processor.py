"""A processor and a closer on a data folder, put together as the service does it, to be timed."""

from __future__ import annotations

import time

import msgspec

from benchmarks.journal import LogRounds
from benchmarks.places import Place, sync_nothing
from tailrace.archive.folder import FolderArchive
from tailrace.clock import Clock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.log.reader import LogReader
from tailrace.process.loop import Processor
from tailrace.process.user_agents import rules_version
from tailrace.seal.closer import Closer
from tailrace.settings import load
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger
from tailrace.state.processing import HourSettings, ProcessingStore


class Spent(msgspec.Struct, frozen=True):
    """CPU seconds of one run over the log: the rounds, and the checkpoints."""

    rounds: float
    checkpoints: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.rounds + self.checkpoints


class Bench:
    """One domain's processor and closer, driven step by step in this process."""

    def __init__(self, place: Place, clock: Clock, files: Files | None = None) -> None:
        """Work on a place; other `files` than the machine's own may leave its syncs out."""
        folder, files = DataFolder(place.path), files or Files()
        self._reader = LogReader(folder.log)
        self._engine = open_database(folder.database)
        self._store = ProcessingStore.open(folder.processing_database, SystemIds())
        self.archive = FolderArchive(folder.packs, folder.archive, files)
        self._processor = Processor(
            LogRounds(self._reader, clock),
            self._store,
            self.archive,
            clock,
            files,
            lambda _: HourSettings(devices=rules_version()),
            folder.path / "processing.lock",
        )
        self._closer = Closer(
            self._store,
            self.archive,
            Ledger(self._engine, clock),
            epoch=self._processor.epoch,
            partition_bytes=load(folder.path, {}).settings.seal.partition_bytes,
            partitions=lambda: [listed.id for listed in self._reader.listed()],
        )
        self._closer.recover()

    def process(self) -> Spent:
        """Process all that the log holds, commit it, and return what that cost."""
        rounds = checkpoints = 0.0
        more = True
        while more:
            began = time.process_time()
            more = self._processor.run_round() > 0
            between = time.process_time()
            if not more or self._processor.checkpoint_due():
                self._processor.checkpoint()
            rounds += between - began
            checkpoints += time.process_time() - between
        return Spent(rounds, checkpoints)

    def seal(self) -> float:
        """Seal every hour that is over; return the CPU seconds of all threads."""
        began = time.process_time()
        self._closer.finish()
        return time.process_time() - began

    def sync_nothing(self) -> None:
        """Let the databases wait for no disk, where many hours are only the scene of a measure."""
        self._store.connection.execute("PRAGMA synchronous = OFF")
        sync_nothing(self._engine)

    def close(self) -> None:
        """Give everything back."""
        self._closer.close()
        self._processor.close()
        self._store.close()
        self._reader.close()
        self._engine.dispose()
