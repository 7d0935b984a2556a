"""A random history of devices and users, put once into a real log by the product's collectors.

It has two organizations, one of several projects, some hours, and one in which nothing is sent.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import Engine

from powercut.mmdb import write_mmdb
from tailrace.accounts.keys import KeyBook
from tailrace.accounts.options import OptionsChange, change_options
from tailrace.accounts.projects import NewProject, add_organization, add_project
from tailrace.app.user_mappings import MappingBook
from tailrace.clock import MICROS, Clock, SteppedClock, to_datetime
from tailrace.collect.keys import Keys
from tailrace.collect.limits import Limits
from tailrace.collect.server import Collector
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.ids import Ids, SystemIds
from tailrace.log.partitions import partition_folder
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter
from tailrace.state.database import open_database
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_view import ProcessingView
from torture.people import ADDRESSES, Crowd, Request, pause_micros

# Over midnight.
FIRST_HOUR = Hour.parse("2026-03-05T21")
HOURS = 6
# The hour, counted from 0, in which nothing is sent.
SILENT = 3
PARTITIONS = (1, 2)
# Organizations, by how many projects they have.
ORGANIZATIONS = (3, 1)
# What the first projects choose of their lines.
OPTIONS = (
    OptionsChange(extended_columns=True),
    OptionsChange(schema_number=None, drop_ip=True, drop_location=True),
)
SEGMENT_BYTES = 64 * 1024
# No event of it can be processed: the collector lets none of these in, but an older one may have.
HELD = b'{"events":[{"event_type":"a","device_id":"device-1","event_properties":{"a":{\n}}}]}'

_NETWORKS = {
    "203.0.113.0/24": {
        "country": {"names": {"en": "United States"}},
        "city": {"names": {"en": "San Francisco"}},
        "location": {"metro_code": 807},
    },
    "198.51.100.0/24": {"country": {"names": {"en": "Netherlands"}}},
}


class Written(msgspec.Struct, frozen=True):
    """What was put into the log: the last hour with anything, and what the answers were."""

    last_hour: Hour
    answers: dict[int, int]
    events: int


class History:
    """One data folder's log, written by two collectors on a clock that is stepped."""

    def __init__(self, path: Path, seed: int, partition_bytes: int) -> None:
        """Make a data folder in which nothing was ever processed; its keys are drawn, though."""
        self.folder = DataFolder(path)
        self._chance = random.Random(seed)
        self._clock = SteppedClock(FIRST_HOUR.start_micros + 1)
        files, ids = Files(), SystemIds()
        self.folder.create(files)
        places = write_mmdb(path.parent / f"{path.name}.mmdb", _NETWORKS)
        (path / "tailrace.toml").write_text(
            f'[places]\ndatabase = "{places}"\n'
            f"[seal]\npartition_bytes = {partition_bytes}\n"
            "[log]\nkeep_hours = 0\n"
        )
        self._projects = _make_projects(self.folder, ids, self._clock)
        # The keys that make uuids and dedupe keys belong to the folder, so every copy has them.
        store = ProcessingStore.open(self.folder.processing_database, ids)
        store.close()
        api_keys: dict[int, list[str]] = {}
        for organization, project in self._projects:
            api_keys.setdefault(organization, []).append(project.api_key)
        self._crowd = Crowd(self._chance, api_keys)
        # Lives of the processor begin after all that is ever written.
        after = Hour(FIRST_HOUR.number + 2 * HOURS + 2).start_micros
        self.folder.fix_clock(to_datetime(after).isoformat(), files)

    def write(self, requests: int) -> Written:
        """Put a history of so many requests into the log; its last entries end its last hour."""
        mean_seconds = (HOURS - 1) * 3600 / requests / 0.7
        with asyncio.Runner() as runner:
            return runner.run(self._write(requests, mean_seconds))

    def probe(self) -> Written:
        """Put requests into the log that show what is known of everyone; end their hour."""
        with asyncio.Runner() as runner:
            return runner.run(self._probe())

    async def _write(self, requests: int, mean_seconds: float) -> Written:
        collectors = await _Collectors.open(self.folder, self._clock)
        silent = Hour(FIRST_HOUR.number + SILENT)
        for number in range(requests):
            self._clock.advance(pause_micros(self._chance, mean_seconds))
            if Hour.of_micros(self._clock.now_micros()) == silent:
                self._clock.advance(HOUR_MICROS)
            await collectors.tick()
            if number % 50 == 25:
                await collectors.put(self._chance.choice(PARTITIONS), self._held())
            # Requests that come at once may share a write.
            some = [
                self._crowd.request(self._clock.now_micros())
                for _ in range(self._chance.choice((1, 1, 1, 4)))
            ]
            await collectors.send(self._chance, some)
        return await collectors.end_hour()

    async def _probe(self) -> Written:
        collectors = await _Collectors.open(self.folder, self._clock)
        for request in self._crowd.probes(self._clock.now_micros()):
            self._clock.advance(MICROS)
            await collectors.send(self._chance, [request])
        return await collectors.end_hour()

    def _held(self) -> Record:
        organization, project = self._chance.choice(self._projects)
        now = self._clock.now_micros()
        return Record(organization, project.project_id, "/batch", now, None, "203.0.113.7", 1, HELD)


def _make_projects(folder: DataFolder, ids: Ids, clock: Clock) -> list[tuple[int, NewProject]]:
    """Return the projects with their organizations; some lines of theirs are made differently."""
    engine = open_database(folder.database)
    found: list[tuple[int, NewProject]] = []
    for number, count in enumerate(ORGANIZATIONS):
        organization = add_organization(engine, f"Acme {number}", clock=clock)
        for _ in range(count):
            made = add_project(engine, organization, "Shop", ids=ids, clock=clock)
            found.append((organization, made))
    for (_, project), change in zip(found, OPTIONS, strict=False):
        change_options(engine, project.project_id, change, clock=clock)
    engine.dispose()
    return found


class _Collectors:
    """One collector for each partition, without their sockets."""

    def __init__(self, clock: SteppedClock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine
        self._answers: Counter[int] = Counter()
        self._events = 0
        self._writers: dict[int, LogWriter] = {}
        self._keys: list[Keys] = []
        self._collectors: list[Collector] = []

    @classmethod
    async def open(cls, folder: DataFolder, clock: SteppedClock) -> _Collectors:
        """Start the collectors as new processes would."""
        engine = open_database(folder.database)
        made = cls(clock, engine)
        for partition in PARTITIONS:
            writer = LogWriter.open(
                partition_folder(folder.log, partition),
                partition=partition,
                clock=clock,
                files=Files(),
                known_end=0,
                segment_bytes=SEGMENT_BYTES,
            )
            # Keys that never grow old: nobody changes them, and the clock runs ahead of any look.
            keys = Keys(KeyBook(engine), steady_seconds=lambda: 0.0)
            await keys.refresh()
            mappings = MappingBook(
                engine, ProcessingView(folder.processing_database), clock, lambda: True
            )
            made._writers[partition] = writer
            made._keys.append(keys)
            made._collectors.append(
                Collector(writer.submit, keys, clock, limits=Limits(), mappings=mappings)
            )
        return made

    async def send(self, chance: random.Random, requests: Sequence[Request]) -> None:
        """Send requests at once, each to one of the collectors."""
        statuses = await asyncio.gather(
            *(
                _answer(chance.choice(self._collectors), request, chance.choice(ADDRESSES))
                for request in requests
            )
        )
        self._answers.update(statuses)

    async def put(self, partition: int, record: Record) -> None:
        """Append a record that no request makes."""
        await self._writers[partition].append(record)
        self._events += record.events

    async def tick(self) -> None:
        """Let each log look at the clock, as a collector does every second."""
        for writer in self._writers.values():
            await writer.tick_if_due()

    async def end_hour(self) -> Written:
        """End the hour and stop the collectors."""
        hour = Hour.of_micros(self._clock.now_micros())
        self._clock.advance(hour.end_micros - self._clock.now_micros() + MICROS)
        await self.tick()
        for collector, keys in zip(self._collectors, self._keys, strict=True):
            self._events += collector.counters.events_accepted
            collector.close()
            keys.close()
        for writer in self._writers.values():
            writer.close()
        self._engine.dispose()
        return Written(hour, dict(self._answers), self._events)


async def _answer(collector: Collector, request: Request, address: str) -> int:
    """Return the status with which a collector answers."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.query,
        "headers": list(request.headers.items()),
        "client": (address, 40_000),
    }
    await collector(scope, receive, send)
    (status,) = statuses
    return status
