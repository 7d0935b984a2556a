"""`Installation`: a real data folder with a collector on a socket, and what processes its log."""

from __future__ import annotations

import gc
import gzip
import http.client
import json
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.accounts.projects import add_organization, add_project
from tailrace.app import collector
from tailrace.app.listening import Address, bind
from tailrace.app.part import PartContext
from tailrace.archive.folder import FolderArchive
from tailrace.clock import Clock, SteppedClock, SystemClock
from tailrace.demo.surroundings import clean
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.ids import SystemIds
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position
from tailrace.log.rounds import read_round
from tailrace.process.loop import Processor
from tailrace.process.places import Places
from tailrace.process.user_agents import rules_version
from tailrace.seal.closer import Closer
from tailrace.settings import DiskSettings, Settings
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger
from tailrace.state.processing import HourSettings, ProcessingStore
from tests.contract.table import PROPERTY, Row, text
from tests.contract.wire import Wire

WAIT_SECONDS = 60.0
TURN_SECONDS = 0.05
TURNS_MAX = 600
# The tests' machine may have a full disk; what the service does then is tested elsewhere.
NO_RESERVES = DiskSettings(
    first_percent=0,
    first_bytes=0,
    second_percent=0,
    second_bytes=0,
    third_percent=0,
    third_bytes=0,
)
# No disk has so much, so the second reserve is always touched.
ALWAYS_FULL = DiskSettings(
    first_percent=100,
    first_bytes=2**60,
    second_percent=100,
    second_bytes=2**60,
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


@pytest.fixture
def tabulate(record_property: Callable[[str, object], None]) -> Callable[[Row], None]:
    """Check a row and put it into the table that is printed in the end."""

    def keep(row: Row) -> None:
        row.check()
        record_property(PROPERTY, msgspec.to_builtins(row))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table; with workers only where this folder was asked for by its name."""
    rows = [
        msgspec.convert(value, Row)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if rows:
        terminalreporter.write_sep("-", "sent, acknowledged, exported")
        for line in text(rows):
            terminalreporter.write_line(line)


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


class SealedLines(msgspec.Struct, frozen=True):
    """The lines of a sealed hour's files, and its seal record."""

    lines: list[dict[str, Any]]
    record: dict[str, Any]


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
        self.secret_key = made.secret_key
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

    def refuse_all(self) -> None:
        """Start the collector again, on a disk that is nearly full for it: all uploads get 503."""
        self._restart(ALWAYS_FULL)

    def take_again(self) -> None:
        """Start the collector again, with room."""
        self._restart(NO_RESERVES)

    def _restart(self, disk: DiskSettings) -> None:
        self.stop()
        self.settings = msgspec.structs.replace(self.settings, disk=disk)
        self.serve()

    def let_pass(self, micros: int) -> None:
        """Let time pass, and wait until keys are read again: old ones are not believed."""
        assert isinstance(self.clock, SteppedClock)
        self.clock.advance(micros)
        for _ in range(TURNS_MAX):
            # Without events this is a 400, once the keys are there.
            if self._post(b'{"api_key":""}')["code"] != 503:
                return
            time.sleep(TURN_SECONDS)
        pytest.fail("the collector did not read its keys again")

    def close(self) -> None:
        self.stop()
        self.engine.dispose()

    def post(self, *events: Mapping[str, Any]) -> dict[str, Any]:
        """Send events as one request and return the answer, which must be a 200."""
        answer = self._post(json.dumps({"api_key": self.api_key, "events": events}).encode())
        assert answer["code"] == 200, answer
        return answer

    def _post(self, body: bytes) -> dict[str, Any]:
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT_SECONDS)
        try:
            connection.request("POST", "/2/httpapi", body)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    @contextmanager
    def processed(self) -> Iterator[Processed]:
        """Process the log to its end, with the processor's own parts."""
        places = Places.adopt(self.settings.places.database, self.folder.places, Files())
        reader = LogReader(self.folder.log)
        store = ProcessingStore.open(self.folder.processing_database, SystemIds())
        processor = Processor(
            LogRounds(reader, self.clock),
            store,
            self.archive,
            self.clock,
            Files(),
            lambda _: HourSettings(places=places.current, devices=rules_version()),
            self.folder.path / "processing.lock",
            places=places,
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

    def end_hour(self, hour: Hour) -> SealedLines:
        """Let time pass to the next hour, and return what was sealed of this one."""
        assert isinstance(self.clock, SteppedClock)
        # Keys that were read an hour ago are not believed, so the collector starts again.
        self.stop()
        self.clock.advance(HOUR_MICROS)
        self.serve()
        self.post({"event_type": "In The Next Hour", "device_id": "device-of-the-next-hour"})
        with self.processed() as processed:
            processed.seal()
        sealed = self.ledger.sealed_hour(self.project, hour)
        assert sealed is not None
        raws = (gzip.decompress(path.read_bytes()) for path in self.files(hour))
        lines = [json.loads(line) for raw in raws for line in raw.splitlines()]
        return SealedLines(lines, json.loads(sealed.record))

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


Connect = Callable[..., Wire]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Put a network in front of an installation."""
    made: list[Wire] = []

    def start(installation: Installation, path: str = "/2/httpapi") -> Wire:
        made.append(Wire(lambda: installation.address, path))
        return made[-1]

    yield start
    for wire in made:
        wire.close()
