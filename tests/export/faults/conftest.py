"""A world whose exporter reaches its bucket through the proxy, with a small and a large file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.clock import MICROS, Clock, SteppedClock
from tailrace.demo import seaweed
from tailrace.export import bucket as bucket_module
from tailrace.export import parts
from tailrace.export.client import Clients, ClientSettings
from tailrace.hours import Hour
from tailrace.seal import names
from tests.export.faults.proof import prove
from tests.export.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# S3 takes no smaller part but the last, so this is the smallest object of two parts.
PART_BYTES = 5 * 1024**2
SMALL = os.urandom(3000)
LARGE = os.urandom(PART_BYTES + 4000)
PREFIX = "exports/"
# A client that has gone looks no more.
_LOOK_SECONDS = 1.0


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut objects above 5 MiB into parts, so that they are small enough for many tests."""
    monkeypatch.setattr(parts, "MULTIPART_BYTES", PART_BYTES)
    monkeypatch.setattr(bucket_module, "MULTIPART_BYTES", PART_BYTES)


@pytest.fixture
def faults(server: seaweed.Seaweed) -> Iterator[FaultProxy]:
    made = FaultProxy(server.endpoint_url)
    yield made
    made.close()


class PacedClock:
    """The world's clock as requests see it; time passes for them only when they have looked.

    A client looks before each read. Without this the other end of a connection would run ahead.
    """

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._looked = threading.Condition()
        self._looks = 0
        self._seen = 0

    def now_micros(self) -> int:
        return self._clock.now_micros()

    def steady_micros(self) -> int:
        with self._looked:
            self._looks += 1
            self._looked.notify_all()
            return self._clock.steady_micros()

    def pass_on(self, seconds: float) -> None:
        """Wait for a look since the last time, then let time pass."""
        with self._looked:
            self._looked.wait_for(lambda: self._looks > self._seen, timeout=_LOOK_SECONDS)
            self._seen = self._looks
            self._clock.advance(round(seconds * MICROS))


class Life:
    """One sealed hour on its way to a bucket behind the proxy, and the proof of its end."""

    def __init__(self, world: Any, bucket: str, faults: FaultProxy, owner: S3Client) -> None:
        self.world = world
        self.bucket = bucket
        self.faults = faults
        self.owner = owner
        self.paced = PacedClock(world.clock)
        self.destination: Any = None
        world.clients = quick_clients(self.paced)
        self.expected: dict[str, bytes] = {}

    def begin(self, *datas: bytes, **changes: Any) -> Life:
        """Add the destination and seal an hour of these files."""
        changes = {"endpoint_url": self.faults.url, **changes}
        self.destination = self.world.add_destination(self.bucket, **changes)
        self.seal(self.world.hour, *datas)
        return self

    def seal(self, hour: Hour, *datas: bytes) -> None:
        """Seal an hour of these files, and expect it in the bucket."""
        files = [self.world.put_file(n, data, hour) for n, data in enumerate(datas, start=1)]
        self.world.seal(*files, hour=hour)
        project = self.world.project
        for number, data in enumerate(datas, start=1):
            self.expected[names.file_key(PREFIX, project, hour, number)] = data
        self.expected[names.manifest_key(PREFIX, project, hour)] = b""
        self.expected[names.marker_key(PREFIX, project, hour)] = b""

    def prove(self, **allowed: Any) -> None:
        """Prove that every hour lies in the bucket exactly once, and every run is a success."""
        assert {run.state for run in self.world.ledger.runs()} == {"success"}
        assert self.world.destinations.get(self.destination.id).outage_since_micros is None
        self.faults.settle()
        prove(self.owner, self.bucket, self.expected, self.faults.reached, **allowed)


@pytest.fixture
def life(world: Any, bucket: str, faults: FaultProxy, owner: S3Client) -> Life:
    """Requests wait two seconds for a silent store, so that silence needs no patience here."""
    return Life(world, bucket, faults, owner)


def quick_clients(clock: Clock, silence_seconds: float = 2.0) -> Clients:
    """Return clients with little patience."""
    settings = ClientSettings(
        private_endpoints=True,
        connect_timeout_seconds=silence_seconds,
        read_timeout_seconds=silence_seconds,
    )
    return Clients(settings, lambda secret: secret.decode(), clock)


@pytest.fixture
def file_key(world: Any) -> Callable[[int], str]:
    return lambda number: names.file_key(PREFIX, world.project, world.hour, number)
