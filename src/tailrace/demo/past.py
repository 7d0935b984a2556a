"""Some days that the shop had before: made by the service's own parts, on a clock that is stepped.

No row is invented. Requests go to the collector, from there to the log, the processor, the sealed
files, and into the buckets of the demo's S3 server. Run by the demo as a process of its own, before
the service starts; it prints how many hours are made.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import Engine

from tailrace.accounts.keys import KeyBook
from tailrace.app.collector import known_end, limits_of
from tailrace.app.destinations import open_clients
from tailrace.app.layout import LAYOUT
from tailrace.app.part import PartContext
from tailrace.app.processor import ProcessorLoop, Room
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS, SteppedClock, SystemClock, to_micros
from tailrace.collect.keys import Keys
from tailrace.collect.server import Collector
from tailrace.demo.events import ShopEvent, shop_events
from tailrace.errors import NeedsOperator
from tailrace.export.exporter import Exporter, Ports
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.log.partitions import list_partitions, partition_folder
from tailrace.log.writer import LogWriter
from tailrace.notify.notices import Notices
from tailrace.notify.outage_mails import Mailing
from tailrace.notify.room import RoomGauge
from tailrace.ops.logs import configure_logs
from tailrace.settings import load
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger

PARTITION = 1
MINUTE_MICROS = 60 * MICROS
# An hour's requests come at these minutes; the last look at it follows after its end.
REQUEST_MINUTES = (8, 21, 34, 52)
# While something is refused, its next try is met to the minute or so.
REFUSED_STEP_MINUTES = 2
# What one look at what is owed delivers: of each destination an hour or two.
DELIVERIES_MAX = 100

# Events an hour once the shop is known, from midnight on. Nobody comes at four.
DAY = (
    *(220, 130, 80, 50, 0, 40, 150, 350, 650, 950, 1180, 1380),
    *(1520, 1450, 1300, 1220, 1350, 1650, 1950, 2300, 2200, 1600, 1000, 520),
)
# It opened a while ago, with this share of them, and grew by as much on each day.
FIRST_SHARE = 0.2


class Past:
    """The parts of the service over one data folder; `close` them before the service starts."""

    def __init__(self, folder: DataFolder, first: Hour, machine_micros: int) -> None:
        """Begin with the hour `first`; `machine_micros` is what the machine's clock shows then.

        In a new folder every destination owes its hours from there on, as at a first start.
        """
        self._folder = folder
        self._settings = load(folder.path, os.environ).settings
        self._clock = SteppedClock(first.start_micros)
        # Tries and probes follow the machine's clock, which has to go on where this one ends.
        self._machine = SteppedClock(machine_micros)
        context = PartContext(folder, self._settings, "processor")
        context.clock = self._clock
        self._engine = open_database(folder.database)
        self._ledger = Ledger(self._engine, self._clock)
        self._destinations = Destinations(self._engine, self._clock)
        if not list_partitions(folder.log):
            self._destinations.start_all_from(first)
        self._writer = LogWriter.open(
            partition_folder(folder.log, PARTITION),
            partition=PARTITION,
            clock=self._clock,
            files=context.files,
            known_end=known_end(folder.processing_database, PARTITION),
        )
        self._keys = Keys(
            KeyBook(self._engine), steady_seconds=lambda: self._clock.steady_micros() / MICROS
        )
        self._collector = Collector(
            self._writer.submit,
            self._keys,
            self._clock,
            limits=limits_of(self._settings.collect),
        )
        self._room = Room(context)
        self._loop = ProcessorLoop(context, self._room)
        self._exporter = self._make_exporter(context)
        self._notices = _make_notices(context, self._engine, self._machine)

    async def live(self, hour: Hour, api_key: str, share: float) -> None:
        """Let one hour pass: its requests come, it ends, and its files go out.

        `share` is how much of a known shop's events come.
        """
        chance = random.Random(hour.number)  # noqa: S311 - it makes sample data
        events = round(DAY[hour.of_day] * share * chance.uniform(0.8, 1.25))
        sizes = [events // len(REQUEST_MINUTES)] * len(REQUEST_MINUTES)
        sizes[-1] += events - sum(sizes)
        # Each hour's people do other things, so no insert ID comes twice.
        for minute, size in zip(REQUEST_MINUTES, sizes, strict=True):
            await self._pass_to(hour.start_micros + minute * MINUTE_MICROS)
            if size:
                shop = shop_events(hour.number * 60 + minute, self._clock.now_micros())
                body = {"api_key": api_key, "events": list(_events(shop, size))}
                await self._post(msgspec.json.encode(body))
        await self._pass_to(hour.end_micros + MICROS)

    async def _pass_to(self, micros: int) -> None:
        while (now := self._clock.now_micros()) < micros:
            step = micros - now
            if self._is_refused():
                step = min(step, REFUSED_STEP_MINUTES * MINUTE_MICROS)
            self._clock.advance(step)
            self._machine.advance(step)
            await self._work()

    async def _work(self) -> None:
        await self._writer.tick_if_due()
        self._loop.settle()
        for _ in range(DELIVERIES_MAX):
            if not self._exporter.deliver_next():
                break
        self._exporter.look_after()
        self._notices.step()

    def _is_refused(self) -> bool:
        counts = self._ledger.run_counts()
        return any(one.state in ("retrying", "failed") and one.runs for one in counts)

    async def _post(self, body: bytes) -> None:
        await self._keys.refresh()
        answered = await _ask(self._collector, "/2/httpapi", body)
        if answered != 200:
            raise NeedsOperator(f"A request of the shop's past was answered with {answered}.")

    def _make_exporter(self, context: PartContext) -> Exporter:
        archive = FolderArchive(self._folder.packs, self._folder.archive, context.files)
        return Exporter(
            Ports(
                ledger=self._ledger,
                destinations=self._destinations,
                clients=open_clients(self._folder, self._settings),
                layout=LAYOUT,
                open_file=archive.open_file,
                clock=self._clock,
                machine=self._machine,
                ids=context.ids,
            ),
            workers=1,
            per_destination=1,
        )

    def close(self) -> None:
        """Commit what is processed and give everything back."""
        self._loop.finish()
        self._loop.close()
        self._room.close()
        self._collector.close()
        self._keys.close()
        self._writer.close()
        self._engine.dispose()


def _make_notices(context: PartContext, engine: Engine, machine: SteppedClock) -> Notices:
    settings, folder = context.settings, context.folder
    gauge = RoomGauge(engine, context.files, folder.path, settings.disk, machine)
    mailing = Mailing(
        engine=engine, clock=context.clock, ids=context.ids, settings=settings, gauge=gauge
    )
    return Notices(mailing, machine)


def _events(shop: Iterator[ShopEvent], count: int) -> Iterator[dict[str, Any]]:
    for event in itertools.islice(shop, count):
        yield {"insert_id": event.insert_id, **event.fields}


async def _ask(collector: Collector, path: str, body: bytes) -> int:
    """Post a body as the collector's server hands it on; return the status of the answer."""
    statuses: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ],
        "client": ("127.0.0.1", 0),
    }
    await collector(scope, receive, send)
    return statuses[0]


async def make(
    past: Past, hours: Sequence[Hour], opened: Hour, api_key: str, tell: Callable[[int], None]
) -> None:
    """Live through these hours, one after the other; `tell` hears how many are over.

    The shop `opened` before them, or with the first of them, and is known with the last.
    """
    known = hours[-1].number - opened.number or 1
    for number, hour in enumerate(hours, start=1):
        grown = (hour.number - opened.number) / known
        await past.live(hour, api_key, FIRST_SHARE + (1 - FIRST_SHARE) * grown)
        tell(number)


def main() -> None:
    """Make the past as the arguments say; print the number of the hours that are over so far."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--from", dest="first", type=Hour.parse, required=True)
    parser.add_argument("--opened", type=Hour.parse, required=True, help="the shop's first hour")
    parser.add_argument("--until", type=Hour.parse, required=True, help="not part of it")
    parser.add_argument("--service-start", type=datetime.fromisoformat, required=True)
    given = parser.parse_args()
    configure_logs("past")
    folder = DataFolder(given.data)
    service_start = to_micros(given.service_start.replace(tzinfo=UTC))
    ago = service_start - given.first.start_micros
    past = Past(folder, given.first, SystemClock().now_micros() - ago)
    try:
        hours = list(Hour.range(given.first, given.until))
        asyncio.run(
            make(past, hours, given.opened, given.api_key, lambda over: print(over, flush=True))
        )
    finally:
        past.close()


if __name__ == "__main__":
    main()
