"""A service to measure: its parts as processes of their own, a local S3 server, and its ledger."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from benchmarks.places import Place, sync_nothing
from benchmarks.size.clock import SharedClock
from benchmarks.size.part import Spent
from tailrace.accounts.projects import add_organization, add_project
from tailrace.app.destinations import open_secrets
from tailrace.demo import seaweed
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.ops.heartbeats import read_heartbeats
from tailrace.seal.names import marker_key
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import Destinations, NewDestination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

BUCKET = "size"
PARTS = ("collector", "processor", "exporter")
_END_SECONDS = 30
# What a step of a measure may take at the most: far more than it should on a busy machine.
PATIENCE_SECONDS = 900.0
_LOOK_SECONDS = 0.02


class Part:
    """One part's process, from the measure's side."""

    def __init__(self, name: str, folder: Path, clock: Path) -> None:
        self.name = name
        with (folder / f"{name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.size.part", name, str(folder), str(clock)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.process_id = self._process.pid
        self.port = int(self._answer())

    def spent(self) -> Spent:
        """Ask a processor what its checkpoints and its closer cost so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"spent\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._answer(), type=Spent)

    def check(self) -> None:
        """Raise if the part has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"The {self.name} ended; its log lies in the measure's folder.")

    def stop(self) -> None:
        """End it as the supervisor would, and wait for that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The {self.name} ended with {self._process.wait()}.")
        return line


class Service:
    """Parts on one data folder, and the bucket that they deliver to."""

    def __init__(self, place: Place, clock: SharedClock, server: seaweed.Seaweed) -> None:
        self.place = place
        self.clock = clock
        self.server = server
        self.parts: dict[str, Part] = {}

    @property
    def bucket(self) -> S3Client:
        """A client of the bucket's owner."""
        return self.server.client(self.server.owner)

    def start(self, *names: str) -> None:
        """Start parts; return once they are up."""
        for name in names:
            self.parts[name] = Part(name, self.place.path, clock_path(self.place.path))
        self.wait(lambda: set(names) <= set(self._beating()), "its parts come up")

    def stop(self) -> None:
        """Stop every part, the processor last."""
        for name in sorted(self.parts, key=lambda name: name == "processor"):
            self.parts[name].stop()
        self.parts.clear()

    def processed_entries(self) -> int:
        """Return how many entries of the log the processor has read; up to two seconds old."""
        for beat in read_heartbeats(DataFolder(self.place.path).run):
            if beat.part == "processor":
                return int(beat.counters.get("processed_entries", 0))
        return 0

    def has_marker(self, prefix: str, project: int, hour: Hour) -> bool:
        """Say whether an hour's marker is visible in the bucket."""
        try:
            self.bucket.head_object(Bucket=BUCKET, Key=marker_key(prefix, project, hour))
        except ClientError:
            return False
        return True

    def wait(self, done: object, what: str) -> None:
        """Wait until `done()`; raise if a part ends or it takes too long."""
        assert callable(done)
        until = time.monotonic() + PATIENCE_SECONDS
        while not done():
            for part in self.parts.values():
                part.check()
            if time.monotonic() > until:
                raise RuntimeError(f"Waited {PATIENCE_SECONDS:.0f} s in vain until {what}.")
            time.sleep(_LOOK_SECONDS)

    def _beating(self) -> list[str]:
        names = [beat.part for beat in read_heartbeats(DataFolder(self.place.path).run)]
        return [name.partition("-")[0] for name in names]


def clock_path(folder: Path) -> Path:
    """Return where a measured folder's clock lies."""
    return folder.with_name(folder.name + ".clock")


@contextmanager
def service(folder: Path, now_micros: int, projects: int) -> Iterator[tuple[Service, list[Place]]]:
    """Make a data folder with projects, and a bucket; stop and remove all of it at the end."""
    with ExitStack() as opened:
        clock = SharedClock.make(clock_path(folder), now_micros)
        places = make_projects(folder, clock, projects)
        server = opened.enter_context(seaweed.start(SystemIds()))
        server.create_bucket(BUCKET)
        made = Service(places[0], clock, server)
        opened.callback(made.stop)
        yield made, places


def make_projects(path: Path, clock: SharedClock, projects: int) -> list[Place]:
    """Make a data folder with one organization and its projects."""
    folder, ids = DataFolder(path), SystemIds()
    folder.create(Files())
    engine = open_database(folder.database)
    sync_nothing(engine)
    try:
        organization = add_organization(engine, "Benchmarks", clock=clock)
        found = []
        for number in range(projects):
            made = add_project(engine, organization, f"Measured {number}", ids=ids, clock=clock)
            found.append(Place(path, organization, made.project_id, made.api_key))
        return found
    finally:
        engine.dispose()


def prefix_of(project: int) -> str:
    """Return the prefix under which a project's files lie."""
    return f"p{project}/"


def add_destinations(
    server: seaweed.Seaweed,
    places: Sequence[Place],
    first: Hour,
    clock: SharedClock,
    endpoint_url: str | None = None,
) -> None:
    """Give every project a destination of its own, with keys of its own, from an hour on.

    They are activated without probes: what the server can do is known.
    """
    folder = DataFolder(places[0].path)
    secrets = open_secrets(folder)
    engine = open_database(folder.database)
    sync_nothing(engine)
    able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    try:
        book = Destinations(engine, clock)
        for place in places:
            made = book.add(
                NewDestination(
                    project=place.project,
                    bucket=BUCKET,
                    region=seaweed.REGION,
                    prefix=prefix_of(place.project),
                    endpoint_url=endpoint_url or server.endpoint_url,
                    access_key_id=server.owner.access_key_id,
                    secret_encrypted=secrets.encrypt(server.owner.secret_access_key),
                )
            )
            book.activate(made.id, able)
            book.set_interval(made.id, first, None)
    finally:
        engine.dispose()
