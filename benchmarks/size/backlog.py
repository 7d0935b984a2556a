"""A thousand hours owed after an outage: the destination is away while they are sealed, then back.

The hours are made in this process through the code that makes all hours, with a clock that is
stepped; the exporter is a process of its own, which tries and fails until the destination is back.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from benchmarks.generator import Generator, bodies
from benchmarks.journal import Journal
from benchmarks.paired import Figure, figure
from benchmarks.processor import Bench
from benchmarks.report import Bar, progress
from benchmarks.serve_full import UnsyncedFile
from benchmarks.size.gate import Gate
from benchmarks.size.sampling import MIB, Sampler
from benchmarks.size.service import BUCKET, Service, add_destinations, prefix_of, service
from tailrace.clock import MICROS, SteppedClock
from tailrace.files import AppendFile, Files
from tailrace.folder import DataFolder
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.settings import FILE_NAME
from tailrace.state.database import open_database, reading
from tailrace.state.tables import delivery, delivery_file, sealed_file

HOURS = 1_000
FILES = 3
LABEL = "backlog"
_EVENTS_A_FILE = 50
# So small that each checkpoint of an hour makes a file.
_PARTITION_BYTES = 1024
_LOOK_SECONDS = 0.25
# Two workers finish their runs in any order within this time.
_ORDER_MICROS = 2 * MICROS

BARS = [
    Bar(f"{LABEL}: RssAnon, exporter", 300.0, most=True),
    Bar(f"{LABEL}: files put twice", 0.0, most=True),
    Bar(f"{LABEL}: files not delivered", 0.0, most=True),
    Bar(f"{LABEL}: runs before a newer one that was due", 0.0, most=True),
]


class _Unsynced(Files):
    """Files without any wait for the disk: what is measured begins when the hours are made."""

    def open_append(self, path: Path) -> AppendFile:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return UnsyncedFile(path, descriptor)

    def sync_descriptor(self, descriptor: int) -> None:
        return

    def sync_folder(self, path: Path) -> None:
        return


class Owed(msgspec.Struct, frozen=True):
    """One run: its hour, when it may be tried next, and when it was finished."""

    hour: int
    due_micros: int | None
    finished_micros: int | None


def measure(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Make the backlog, let the destination come back, and see it delivered."""
    hours = max(2, int(HOURS * scale))
    progress(f"size: a backlog of {hours:,} hours")
    first = Hour.of_micros(now_micros).plus(-hours - 1)
    with service(folder / "backlog", now_micros, 1) as (made, places):
        (made.place.path / FILE_NAME).write_text(
            f"[seal]\npartition_bytes = {_PARTITION_BYTES}\n", encoding="utf-8"
        )
        port = urlsplit(made.server.endpoint_url).port
        assert port is not None
        gate = Gate(port)
        try:
            away = f"http://127.0.0.1:{gate.port}"
            add_destinations(made.server, places, first, made.clock, endpoint_url=away)
            made.clock.run()
            made.start("exporter")
            processes = {"exporter": made.parts["exporter"].process_id}
            with Sampler(processes) as sampler:
                _make_hours(made, seed, first, hours)
                away_seconds = sampler.cpu_seconds()["exporter"]
                owed = _runs(made)
                if len(owed) < hours:
                    raise RuntimeError(f"{hours:,} hours were to be owed, not {len(owed):,} runs.")
                began = time.monotonic()
                gate.open()
                made.wait(lambda: _all_delivered(made), "all hours are delivered")
                seconds = time.monotonic() - began
                cpu_seconds = sampler.cpu_seconds()["exporter"] - away_seconds
            done = _runs(made)
            files, twice, missing = _check_bucket(made)
        finally:
            gate.close()
    values = {
        ("destination back to all delivered", "s"): seconds,
        ("CPU of the exporter, while away", "s"): away_seconds,
        ("CPU of the exporter, delivering", "s"): cpu_seconds,
        ("CPU of the exporter, an hour", "ms"): cpu_seconds / hours * 1e3,
        ("RssAnon, exporter", "MiB"): sampler.peaks["exporter"].anonymous / MIB,
        ("runs before a newer one that was due", "runs"): out_of_order(owed, done),
        ("files put twice", "files"): twice,
        ("files not delivered", "files"): missing,
    }
    figures = [figure(f"{LABEL}: {name}", unit, [value]) for (name, unit), value in values.items()]
    longest = max((run.due_micros or 0 for run in owed), default=0) - _opened(owed, done)
    return figures, [
        f"{LABEL}: {hours:,} hours, {files:,} files; when the destination came back the longest "
        f"wait for a next try was {max(0.0, longest / MICROS):.0f} s."
    ]


def _opened(owed: list[Owed], done: list[Owed]) -> int:
    before = {run.hour for run in owed if run.finished_micros is not None}
    return min(run.finished_micros or 0 for run in done if run.hour not in before)


def _make_hours(made: Service, seed: int, first: Hour, hours: int) -> None:
    """Collect, process and seal hour after hour; each is handed to the ledger as it is sealed."""
    place = made.place
    clock = SteppedClock(first.start_micros)
    source = Generator(seed, clock.now_micros())
    files = _Unsynced()
    bench, journal = Bench(place, clock, files), Journal(place, clock, files)
    bench.sync_nothing()
    try:
        for number in range(hours):
            for _ in range(FILES):
                sent = source.events(_EVENTS_A_FILE, range(1000))
                journal.append(bodies(place.api_key, sent, _EVENTS_A_FILE), _EVENTS_A_FILE)
                bench.process()
                bench.seal()
            clock.advance(first.plus(number + 1).start_micros - clock.now_micros())
    finally:
        journal.close()
    # A new writer writes the tick that says that the last hour is over.
    clock.advance(HOUR_MICROS // 60)
    Journal(place, clock).close()
    bench.process()
    bench.seal()
    bench.close()


def _runs(made: Service) -> list[Owed]:
    statement = sa.select(delivery.c.hour, delivery.c.due_micros, delivery.c.finished_micros)
    engine = open_database(DataFolder(made.place.path).database)
    try:
        with reading(engine) as connection:
            return [Owed(*row) for row in connection.execute(statement.order_by(delivery.c.hour))]
    finally:
        engine.dispose()


def _all_delivered(made: Service) -> bool:
    time.sleep(_LOOK_SECONDS)
    return all(run.finished_micros is not None for run in _runs(made))


def out_of_order(owed: list[Owed], done: list[Owed]) -> int:
    """Count runs that went out though a newer one was due all the while."""
    due = {run.hour: run.due_micros for run in owed}
    count = 0
    # From the newest on: of the newer ones that were due, which was finished last?
    finished_last: list[tuple[int, int]] = []
    for run in reversed(done):
        assert run.finished_micros is not None
        limit = run.finished_micros
        count += any(
            finished > limit + _ORDER_MICROS and ready < limit - _ORDER_MICROS
            for ready, finished in finished_last
        )
        if due.get(run.hour) is not None:
            finished_last.append((due[run.hour] or 0, run.finished_micros))
    return count


def _check_bucket(made: Service) -> tuple[int, int, int]:
    """Return how many files were sealed, how many were put more than once, how many lack."""
    engine = open_database(DataFolder(made.place.path).database)
    try:
        with reading(engine) as connection:
            sealed = int(
                connection.execute(sa.select(sa.func.count()).select_from(sealed_file)).scalar_one()
            )
            rows = connection.execute(sa.select(delivery_file.c.key, delivery_file.c.how)).all()
    finally:
        engine.dispose()
    # `found` says that the object was there already: the way was shut, so it can't have been.
    twice = sum(row.how != "put" for row in rows) + len(rows) - len({row.key for row in rows})
    keys = _keys(made)
    missing = sum(row.key not in keys for row in rows) + sealed - len(rows)
    return sealed, twice, missing


def _keys(made: Service) -> set[str]:
    pages = made.bucket.get_paginator("list_objects_v2")
    prefix = prefix_of(made.place.project)
    return {
        entry["Key"]
        for page in pages.paginate(Bucket=BUCKET, Prefix=prefix)
        for entry in page.get("Contents", [])
    }
