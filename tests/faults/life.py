"""`Life`: every part of the service on one data folder and a stepped clock, in one thread's hands.

A part that fails ends as its process would, without a further write, and starts again at its next
turn. Used by the tests that let one write after the other fail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import msgspec

from tailrace.accounts.projects import add_organization, add_project, organizations, projects
from tailrace.app.ages import aged_parts, renew
from tailrace.app.part import PartContext
from tailrace.app.processor import ProcessorLoop, Room
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS, SteppedClock
from tailrace.errors import Transient
from tailrace.export.deliver import Layout
from tailrace.export.exporter import Exporter, Ports
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.log.partitions import partition_folder
from tailrace.log.record import Record
from tailrace.log.retire import retire_partition
from tailrace.log.stamping import accept_clock
from tailrace.log.writer import LogWriter
from tailrace.ops.heartbeats import Heart
from tailrace.process import checkpoint, chunks, loop
from tailrace.seal import manifest, names
from tailrace.settings import ArchiveSettings, LogSettings, SealSettings, Settings
from tailrace.state import insertions
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.processing_view import ProcessingView
from tailrace.state.secrets import Secrets
from tests.faults.bucket import EVENTS_PER_REQUEST, Answers, Bucket

# Two hours before midnight, since files of past days are dropped for want of space.
START = Hour.parse("2026-11-23T21").start_micros + 60 * MICROS
HOUR = 3600
# Every turn of a loop is finite; a life that needs more turns than this is stuck.
TURNS_MAX = 200
SETTINGS = Settings(
    log=LogSettings(keep_hours=0),
    seal=SealSettings(partition_bytes=6000),
    archive=ArchiveSettings(evict=True),
)


class Scarce(Files):
    """The machine's disk, on which the first reserve alone is broken."""

    def free_bytes(self, path: Path) -> int:
        return 9 * 10**9

    def total_bytes(self, path: Path) -> int:
        return 10**12


def shrink() -> None:
    """Let small chunks be rewritten at 60 kB instead of at 1 MiB, and few keys go into files."""
    for module in (chunks, checkpoint, loop):
        module.SMALL_RAW_BYTES = 60_000  # type: ignore[attr-defined]  # two import it by name
    insertions.ROW_KEYS_MAX = 16
    insertions.RUNS_PER_MERGE = 2


class Failure(msgspec.Struct, frozen=True):
    """What a part ended with."""

    part: str
    error: Exception


class Life:
    """The parts, what they answered, and what they ended with."""

    def __init__(self, data: Path, bucket: Bucket, now: int = START) -> None:
        self.clock = SteppedClock(now)
        self.answers = Answers()
        self.failures: list[Failure] = []
        self.folder = DataFolder(data)
        self.bucket = bucket
        self._writers: dict[int, LogWriter] = {}
        self.retired: set[int] = set()
        self._loop: tuple[Room, ProcessorLoop] | None = None
        self._exporter: Exporter | None = None

    # What an operator does. A command that fails is given again.

    def command(self, step: Callable[[], None]) -> None:
        """Run a command, and once more if it fails."""
        if not self.attempt("command", step):
            step()

    def initialise(self) -> None:
        """Make the folder, the key, an organization and a project, as far as they are missing."""
        files, ids = Files(), SystemIds()
        self.folder.create(files)
        engine = open_database(self.folder.database)
        try:
            Secrets.open(self.folder.secrets_key, files, ids)
            self.folder.fix_clock(None, files)
            known = organizations(engine)
            number = known[0].id if known else add_organization(engine, "Acme", clock=self.clock)
            if not projects(engine):
                add_project(engine, number, "Shop", ids=ids, clock=self.clock)
        finally:
            engine.dispose()

    def add_destination(self) -> None:
        """Add a destination and make it active, if there is none."""
        engine = open_database(self.folder.database)
        try:
            destinations = Destinations(engine, self.clock)
            for known in destinations.list():
                found = known.id
                break
            else:
                project = projects(engine)[0].id
                new = NewDestination(project=project, bucket="acme", prefix="p/")
                found = destinations.add(new).id
            able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
            destinations.activate(found, able)
        finally:
            engine.dispose()

    def accept_clock(self) -> None:
        """Say that the clock is right."""
        accept_clock(self.folder.log, self.clock, Files())

    def retire(self, partition: int) -> None:
        """Take a collector away for good."""
        self.stop_writer(partition)
        self.retired.add(partition)
        known = self._known_end(partition)
        retire_partition(
            self.folder.log, partition, clock=self.clock, files=Files(), known_end=known
        )

    def start(self) -> None:
        """Do what a start of the service does before its parts run."""
        engine = open_database(self.folder.database)
        try:
            renew(aged_parts(self.folder, engine, Files()), SystemIds())
        finally:
            engine.dispose()

    # The parts.

    def post(self, partition: int, request: int) -> None:
        """Send a request of three events, and note the answer."""

        def send() -> None:
            self.answers.unsure.add(request)
            try:
                asyncio.run(self._writer(partition).append(self._record(request)))
            except Transient:
                # 503: nothing of it is stored.
                self.answers.unsure.discard(request)
                self.answers.refused.add(request)
                raise
            self.answers.unsure.discard(request)
            self.answers.refused.discard(request)
            self.answers.acknowledged.add(request)

        self.attempt(f"collector-{partition}", send)

    def post_again(self) -> None:
        """Send what was not answered 200 once more, as an SDK does."""
        for request in sorted(self.answers.unsure | self.answers.refused):
            self.post(1, request)

    def tick(self) -> None:
        """Let every collector look at the clock."""
        for partition in {1, 2} - self.retired:
            self.attempt(
                f"collector-{partition}",
                lambda n=partition: asyncio.run(self._writer(n).tick_if_due()),  # type: ignore[misc]
            )

    def process(self) -> None:
        """Let the processor work until it has nothing more to do now."""

        def turns() -> None:
            loop = self._processor()
            for _ in range(TURNS_MAX):
                worked = loop.turn()
                loop._closer._joining.wait()
                _wait_for_merge(loop)
                if not worked and not loop._closer.joining:
                    return
            raise AssertionError("the processor finds no end")

        self.attempt("processor", turns)

    def deliver(self) -> None:
        """Let the exporter deliver all that is due."""

        def runs() -> None:
            exporter = self._delivering()
            for _ in range(TURNS_MAX):
                if not exporter.deliver_next():
                    break
            exporter.look_after()

        self.attempt("exporter", runs)

    def beat(self) -> None:
        """Let a part say that it is up; a disk that takes no news ends nothing."""
        Heart(self.folder.run, "processor", Files()).beat(self.clock.steady_micros(), {}, {})

    def attempt(self, part: str, step: Callable[[], object]) -> bool:
        """Run a part's step; if it fails, end the part unless it may go on."""
        try:
            step()
        except Exception as error:
            self.failures.append(Failure(part, error))
            if part == "processor":
                self._end_processor()
            elif part.startswith("collector") and not isinstance(error, Transient):
                self.stop_writer(int(part[-1]))
            return False
        return True

    def stop_writer(self, partition: int) -> None:
        """End a collector."""
        writer = self._writers.pop(partition, None)
        if writer is not None:
            writer.close()

    def end(self) -> None:
        """End everything, as a machine that stops."""
        for partition in list(self._writers):
            self.stop_writer(partition)
        self._end_processor()
        if self._exporter is not None:
            self._exporter._ports.ledger.engine.dispose()
            self._exporter = None

    def ledger(self) -> Ledger:
        """Return the ledger, as a page reads it."""
        return self._delivering()._ports.ledger

    def _end_processor(self) -> None:
        if self._loop is not None:
            room, loop = self._loop
            self._loop = None
            loop.close()
            room.close()

    def _writer(self, partition: int) -> LogWriter:
        if partition not in self._writers:
            self._writers[partition] = LogWriter.open(
                partition_folder(self.folder.log, partition),
                partition=partition,
                clock=self.clock,
                files=Files(),
                known_end=self._known_end(partition),
                segment_bytes=3000,
            )
        return self._writers[partition]

    def _known_end(self, partition: int) -> int:
        rows = ProcessingView(self.folder.processing_database).positions()
        return next((row.position for row in rows if row.partition == partition), 0)

    def _processor(self) -> ProcessorLoop:
        if self._loop is None:
            context = PartContext(self.folder, SETTINGS, "processor")
            context.clock, context.files = self.clock, Scarce()
            room = Room(context)
            try:
                self._loop = room, ProcessorLoop(context, room)
            except BaseException:
                room.close()
                raise
            self._loop[1].recover()
        return self._loop[1]

    def _delivering(self) -> Exporter:
        if self._exporter is None:
            engine = open_database(self.folder.database)
            archive = FolderArchive(self.folder.packs, self.folder.archive, Files())
            layout = Layout(
                names.file_key, names.manifest_key, names.marker_key, manifest.manifest_body
            )
            ports = Ports(
                ledger=Ledger(engine, self.clock),
                destinations=Destinations(engine, self.clock),
                clients=self.bucket,
                layout=layout,
                open_file=archive.open_file,
                clock=self.clock,
                machine=self.clock,
                ids=SystemIds(),
            )
            self._exporter = Exporter(ports, workers=1, per_destination=1)
        return self._exporter

    def _record(self, request: int) -> Record:
        events = [
            {
                "event_type": "buy",
                "device_id": f"device-{request % 5}",
                "user_id": f"person-{request % 3}",
                "insert_id": f"{request}-{index}",
                "event_properties": {"request": request, "filler": str(request) * 100},
            }
            for index in range(EVENTS_PER_REQUEST)
        ]
        body = json.dumps({"events": events}).encode()
        now = self.clock.now_micros()
        return Record(100001, 300001, "/batch", now, None, "203.0.113.7", EVENTS_PER_REQUEST, body)


def _wait_for_merge(loop: ProcessorLoop) -> None:
    """Let a merge of dedupe keys end, well or not, so that the writes have one order."""
    stored = loop._processor._dedupe._insertions
    if isinstance(stored, insertions.Insertions) and stored._merge is not None:
        wait([stored._merge.made])
