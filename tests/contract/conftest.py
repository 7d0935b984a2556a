"""`Installation`: a real data folder with a collector on a socket, and what processes its log."""

from __future__ import annotations

import gc
import http.client
import json
import os
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tailrace.accounts.projects import add_organization, add_project
from tailrace.app import collector
from tailrace.app.listening import Address, bind
from tailrace.app.part import PartContext
from tailrace.archive.folder import FolderArchive
from tailrace.clock import Clock, SystemClock
from tailrace.demo.surroundings import clean
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position
from tailrace.log.rounds import read_round
from tailrace.process.loop import Processor
from tailrace.seal.closer import Closer
from tailrace.settings import DiskSettings, Settings
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger
from tailrace.state.processing import HourSettings, ProcessingStore

WAIT_SECONDS = 60.0
# The tests' machine may have a full disk; what the service does then is tested elsewhere.
NO_RESERVES = DiskSettings(
    first_percent=0,
    first_bytes=0,
    second_percent=0,
    second_bytes=0,
    third_percent=0,
    third_bytes=0,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's proxies and AWS configuration out of every test here."""
    kept = clean(os.environ)
    for name in os.environ.keys() - kept.keys():
        monkeypatch.delenv(name)
    for name, value in kept.items():
        monkeypatch.setenv(name, value)


def pytest_sessionfinish() -> None:
    """Let objects be collected at the end that a collector froze, thinking the process its own."""
    gc.unfreeze()


class LogRounds:
    """The log as the processor reads it."""

    def __init__(self, reader: LogReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        reached = {partition: place.position for partition, place in positions.items()}
        return read_round(self._reader, reached, self._clock, limit_bytes).entries


class Processed:
    """Everything that the log held, processed and committed."""

    def __init__(self, store: ProcessingStore, archive: FolderArchive, closer: Closer) -> None:
        self._store = store
        self._archive = archive
        self._closer = closer

    def lines(self) -> list[dict[str, Any]]:
        """Return the committed lines of every hour, as the packs hold them."""
        rows = self._store.connection.execute(
            "SELECT pack, offset, length FROM chunk ORDER BY hour, sequence"
        ).fetchall()
        raw = b"".join(
            zlib.decompressobj(-15).decompress(self._archive.read_pack(*row)) for row in rows
        )
        return [json.loads(line) for line in raw.splitlines()]

    def counts(self) -> dict[str, int]:
        """Return how many events the log's headers promised, and what became of them."""
        names = ("accepted", "exported", "duplicates", "identifies", "filtered", "held")
        sums = ", ".join(f"total({name})" for name in names)
        row = self._store.connection.execute(f"SELECT {sums} FROM project_hour").fetchone()
        return dict(zip(names, map(int, row), strict=True))

    def seal(self) -> None:
        """Seal every hour that the log has left."""
        self._closer.finish()


class Installation:
    """One data folder with one project; its collector runs in a thread from `serve` to `stop`."""

    def __init__(self, path: Path, clock: Clock, settings: Settings) -> None:
        self.folder = DataFolder(path)
        self.folder.create(Files())
        self.clock = clock
        self.settings = settings
        self.engine = open_database(self.folder.database)
        self.ledger = Ledger(self.engine, clock)
        self.archive = FolderArchive(self.folder.packs, self.folder.archive, Files())
        organization = add_organization(self.engine, "Acme", clock=clock)
        made = add_project(self.engine, organization, "Shop", ids=SystemIds(), clock=clock)
        self.project, self.api_key = made.project_id, made.api_key
        self.address: tuple[str, int] = ("", 0)
        self._failures: list[BaseException] = []
        self._context: PartContext | None = None
        self._thread: threading.Thread | None = None

    def serve(self) -> None:
        context = PartContext(self.folder, self.settings, "collector-1")
        context.clock = self.clock
        listening = bind(Address("127.0.0.1", 0), "--listen")
        self.address = listening.getsockname()[:2]
        self._context = context
        self._thread = threading.Thread(target=self._collect, args=(context, listening))
        self._thread.start()

    def _collect(self, context: PartContext, listening: socket.socket) -> None:
        try:
            collector.run(context, 1, listening)
        except BaseException as error:
            self._failures.append(error)

    def stop(self) -> None:
        if self._thread is not None and self._context is not None:
            self._context.stop.set()
            self._thread.join(WAIT_SECONDS)
            assert not self._thread.is_alive()
            self._thread = None
        assert self._failures == []

    def close(self) -> None:
        self.stop()
        self.engine.dispose()

    def post(self, *events: Mapping[str, Any]) -> dict[str, Any]:
        """Send events as one request and return the answer, which must be a 200."""
        body = json.dumps({"api_key": self.api_key, "events": events}).encode()
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT_SECONDS)
        try:
            connection.request("POST", "/2/httpapi", body)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["code"] == 200, answer
        return answer

    @contextmanager
    def processed(self) -> Iterator[Processed]:
        """Process the log to its end, with the processor's own parts."""
        reader = LogReader(self.folder.log)
        store = ProcessingStore.open(self.folder.processing_database, SystemIds())
        processor = Processor(
            LogRounds(reader, self.clock),
            store,
            self.archive,
            self.clock,
            Files(),
            lambda _: HourSettings(),
            self.folder.path / "processing.lock",
        )
        closer = Closer(
            store,
            self.archive,
            self.ledger,
            epoch=processor.epoch,
            partition_bytes=self.settings.seal.partition_bytes,
            partitions=lambda: reader.partitions({}),
        )
        try:
            closer.recover()
            while processor.run_round():
                pass
            processor.checkpoint()
            yield Processed(store, self.archive, closer)
        finally:
            closer.close()
            processor.close()
            store.close()
            reader.close()

    def files(self, hour: Hour) -> list[Path]:
        """Return the sealed files of an hour, in their order."""
        sealed = self.ledger.sealed_hour(self.project, hour)
        assert sealed is not None
        return [self.archive.file_path(self.project, hour, file.name) for file in sealed.files]


Install = Callable[..., Installation]


@pytest.fixture(scope="session")
def new_installation() -> Install:
    """Make an installation in a folder, with a clock; keys of `Settings` may be given."""

    def make(folder: Path, clock: Clock, **settings: Any) -> Installation:
        return Installation(folder, clock, Settings(disk=NO_RESERVES, **settings))

    return make


@pytest.fixture
def install(new_installation: Install, tmp_path: Path) -> Iterator[Install]:
    """Make installations whose collector runs, and stop them in the end."""
    made: list[Installation] = []

    def start(clock: Clock | None = None, **settings: Any) -> Installation:
        folder = tmp_path / f"data-{len(made)}"
        made.append(new_installation(folder, clock or SystemClock(), **settings))
        made[-1].serve()
        return made[-1]

    yield start
    for installation in made:
        installation.close()
