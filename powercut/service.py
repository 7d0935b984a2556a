"""The service's parts over one data folder, in one process and on a clock that is stepped.

The parts are the product's own: log writers as the collectors open them, the processor's loop,
the exporter. The workload drives them under trace, the aftermath on what a cut left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import wait
from pathlib import Path

import msgspec

from powercut.outside import Bucket, Promises, Sent
from tailrace.accounts.projects import add_organization, add_project, organizations, projects
from tailrace.app.ages import aged_parts, renew
from tailrace.app.part import PartContext
from tailrace.app.processor import ProcessorLoop, Room
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS, SteppedClock
from tailrace.export.deliver import Layout
from tailrace.export.exporter import Exporter, Ports
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import Ids
from tailrace.log.partitions import (
    PartitionRetired,
    list_partitions,
    partition_folder,
    usable_partitions,
)
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter
from tailrace.process import checkpoint, chunks, loop
from tailrace.seal.manifest import manifest_body
from tailrace.seal.names import file_key, manifest_key, marker_key
from tailrace.settings import (
    ArchiveSettings,
    LogSettings,
    PlacesSettings,
    SealSettings,
    Settings,
)
from tailrace.state import insertions
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.processing_view import ProcessingView
from tailrace.state.secrets import Secrets

# All sizes are small, so that a short run rolls segments, rewrites chunks and makes many files.
SEGMENT_BYTES = 1200
PARTITION_BYTES = 900
SMALL_RAW_BYTES = 2500
KEYS_IN_ROW_MAX = 8
RUNS_PER_MERGE = 2
COLLECTORS = 2
BUCKET = "acme-exports"
PREFIX = "t/"
SECRET = "the bucket's key"
# A stuck delivery or loop would go on for ever; far above what the workload needs.
TURNS_MAX = 2000

TOTAL_BYTES = 10**12


class SeededIds:
    """Bytes that are the same in every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def random_bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        return self._random.randbytes(count)


class Disk(Files):
    """The machine's files, on a disk with as much room as is said."""

    def __init__(self) -> None:
        super().__init__()
        self.free = TOTAL_BYTES

    def free_bytes(self, path: Path) -> int:
        """Return what was said."""
        return self.free

    def total_bytes(self, path: Path) -> int:
        """Return the disk's size."""
        return TOTAL_BYTES


def use_small_sizes(put: Callable[[object, str, object], None] = setattr) -> None:
    """Let this process rewrite small chunks and merge few keys; `put` may take it back."""
    for module in (checkpoint, chunks, loop):
        put(module, "SMALL_RAW_BYTES", SMALL_RAW_BYTES)
    put(insertions, "ROW_KEYS_MAX", KEYS_IN_ROW_MAX)
    put(insertions, "RUNS_PER_MERGE", RUNS_PER_MERGE)


class Account(msgspec.Struct, frozen=True):
    """What `init` made."""

    organization: int
    projects: tuple[int, ...]
    api_keys: tuple[str, ...]


def initialise(folder: DataFolder, files: Files, ids: Ids, clock: SteppedClock) -> Account:
    """Do what `tailrace init` and `tailrace project add` do, or what is left of it."""
    folder.create(files)
    engine = open_database(folder.database)
    try:
        known = organizations(engine)
        Secrets.open(folder.secrets_key, files, ids)
        organization = known[0].id if known else add_organization(engine, "Acme", clock=clock)
        while len(projects(engine, organization_id=organization)) < 2:
            add_project(engine, organization, "Shop", ids=ids, clock=clock)
        found = projects(engine, organization_id=organization)
        return Account(
            organization,
            tuple(project.id for project in found),
            tuple(key for project in found for key in project.api_keys),
        )
    finally:
        engine.dispose()


class Service:
    """The parts of a running service. One thread drives them, so their steps have one order."""

    def __init__(
        self,
        folder: DataFolder,
        files: Disk,
        ids: Ids,
        clock: SteppedClock,
        bucket: Bucket,
        places: Path,
    ) -> None:
        """`places` is the file that the operator names for the places of addresses."""
        self.folder = folder
        self.files = files
        self.clock = clock
        self._ids = ids
        settings = Settings(
            log=LogSettings(keep_hours=1),
            seal=SealSettings(partition_bytes=PARTITION_BYTES),
            archive=ArchiveSettings(evict=True),
            places=PlacesSettings(database=str(places)),
        )
        self.context = PartContext(folder, settings, "processor")
        self.context.files, self.context.clock, self.context.ids = files, clock, ids
        self.writers: dict[int, LogWriter] = {}
        self._engine = open_database(folder.database)
        self.ledger = Ledger(self._engine, clock)
        self.destinations = Destinations(self._engine, clock)
        self._room: Room | None = None
        self._loop: ProcessorLoop | None = None
        self._runner = asyncio.Runner()
        archive = FolderArchive(folder.packs, folder.archive, files)
        self.ledger.release_leases()
        self._exporter = Exporter(
            Ports(
                ledger=self.ledger,
                destinations=self.destinations,
                clients=bucket,
                layout=Layout(
                    file_key=file_key,
                    manifest_key=manifest_key,
                    marker_key=marker_key,
                    manifest_body=manifest_body,
                ),
                open_file=archive.open_file,
                clock=clock,
                machine=clock,
                ids=ids,
            ),
            workers=1,
            per_destination=1,
        )

    def add_destinations(self, projects: Sequence[int]) -> list[Destination]:
        """Add and activate a destination for each project that has none, with a stored secret."""
        secrets = Secrets.open(self.folder.secrets_key, self.files, self._ids)
        able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
        for project in projects:
            if not self.destinations.list(project=project):
                self.destinations.add(
                    NewDestination(
                        project=project,
                        bucket=BUCKET,
                        prefix=PREFIX,
                        access_key_id="acme",
                        secret_encrypted=secrets.encrypt(SECRET),
                        include_merged_ids=True,
                    )
                )
        for found in self.destinations.list():
            if found.state != "active":
                self.destinations.activate(found.id, able)
        return self.destinations.list()

    def renew_age(self) -> None:
        """Compare the parts' ages and draw the next one, as `serve` does before they run."""
        renew(aged_parts(self.folder, self._engine, self.files), self._ids)

    def open_writers(self) -> None:
        """Open the log as the collectors do: as many as there are partitions, two at least."""
        listed = list_partitions(self.folder.log)
        count = sum(partition.retired is None for partition in listed)
        for partition in usable_partitions(self.folder.log, max(COLLECTORS, count)):
            try:
                self.open_writer(partition)
            except PartitionRetired:
                # It was being retired; it is listed as such now, and the next start passes it by.
                continue

    def open_writer(self, partition: int) -> None:
        """Open one partition as its collector does."""
        self.writers[partition] = LogWriter.open(
            partition_folder(self.folder.log, partition),
            partition=partition,
            clock=self.clock,
            files=self.files,
            known_end=self.known_end(partition),
            segment_bytes=SEGMENT_BYTES,
        )

    def known_end(self, partition: int) -> int:
        """Return how far processing is committed in a partition."""
        positions = ProcessingView(self.folder.processing_database).positions()
        return next((row.position for row in positions if row.partition == partition), 0)

    def start_processor(self) -> None:
        """Start the processor's loop and finish what a crash left."""
        self._room = Room(self.context)
        self._loop = ProcessorLoop(self.context, self._room)
        self._loop.recover()

    def append(self, partition: int, records: Sequence[Record]) -> list[int | BaseException]:
        """Append some records at once; return each one's stamp or error."""

        async def all_at_once() -> list[int | BaseException]:
            writer = self.writers[partition]
            # Held until all of them wait, so that they are one group in every run.
            with writer._wake:
                appends = [asyncio.ensure_future(writer.append(record)) for record in records]
                await asyncio.sleep(0)
            return await asyncio.gather(*appends, return_exceptions=True)

        return self._runner.run(all_at_once())

    def tick(self) -> None:
        """Let every writer look at the clock."""
        for writer in self.writers.values():
            self._run(writer.tick_if_due)

    def settle(self) -> None:
        """Turn the processor's loop until there is nothing to do."""
        current = self._loop
        if current is None:
            raise ValueError("the processor is not started")
        for _ in range(TURNS_MAX):
            worked = current.turn()
            _wait_for_merge(current)
            if current._closer.joining:
                current._closer._joining.wait()
            elif not worked:
                return
        raise RuntimeError("the processor's loop finds no end")

    def deliver(self) -> None:
        """Deliver until nothing is due."""
        for _ in range(TURNS_MAX):
            if not self._exporter.deliver_next():
                return
        raise RuntimeError("deliveries find no end")

    def finish_hour(self) -> None:
        """Go to just after the hour's end; close and deliver it."""
        end = Hour.of_micros(self.clock.now_micros()).end_micros
        self.clock.advance(end - self.clock.now_micros() + MICROS)
        self.tick()
        self.settle()
        self.deliver()

    def retire(self, partition: int) -> None:
        """End a partition for good."""
        self._run(self.writers[partition].retire)
        self.writers.pop(partition).close()

    def close(self) -> None:
        """Stop all parts."""
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        if self._room is not None:
            self._room.close()
            self._room = None
        self._engine.dispose()
        self._runner.close()

    def _run(self, call: Callable[[], Awaitable[object]]) -> None:
        async def wait() -> None:
            await call()

        self._runner.run(wait())


def _wait_for_merge(current: ProcessorLoop) -> None:
    """Let a merge of dedupe keys end, so that the steps have one order."""
    stored = current._processor._dedupe._insertions
    if isinstance(stored, insertions.Insertions) and stored._merge is not None:
        wait([stored._merge.made])


def _ids(number: int) -> dict[str, str]:
    """Return who an event is of; of every three one is a new device's, the next tells whose."""
    user = f"user-{number // 3 % 5}"
    match number % 3:
        case 0:
            return {"device_id": f"tablet-{number // 3}"}
        case 1:
            return {"device_id": f"tablet-{number // 3}", "user_id": user}
    return {"device_id": f"device-{number % 7}", "user_id": user}


def record_of(promises: Promises, sent: Sent, now_micros: int) -> Record:
    """Return a request as a collector puts it into the log; the same events have the same names."""
    if promises.initialised is None:
        raise ValueError("init comes first")
    events = [
        {
            "event_type": "bought",
            **_ids(number),
            "insert_id": f"insert-{number}",
            "event_properties": {
                "number": number,
                "request": sent.request,
                "filler": random.Random(number).randbytes(40 + number % 90).hex(),
            },
        }
        for number in sent.events
    ]
    return Record(
        promises.initialised.organization,
        sent.project,
        "/2/httpapi",
        now_micros,
        None,
        "203.0.113.7",
        len(events),
        msgspec.json.encode({"events": events}),
    )
