"""A year exported by hand: with the exporter killed now and then, and beside hours that end.

The year's hours are put into archive and ledger as sealing puts them, small and all alike in size;
the exporter is the real one, the store a real S3 server, whose own journal tells what was put.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import signal
import time
import zlib
from collections import Counter
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import load
from benchmarks.paired import Figure, figure
from benchmarks.places import Place, sync_nothing
from benchmarks.report import Bar, progress
from benchmarks.size.sampling import cpu_seconds
from benchmarks.size.service import (
    BUCKET,
    PARTS,
    Service,
    add_destinations,
    prefix_of,
    service,
)
from benchmarks.size.traffic import DISTINCT, Traffic
from tailrace.archive.folder import FolderArchive
from tailrace.clock import MICROS
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.seal import manifest, names
from tailrace.state.database import open_database
from tailrace.state.delivery import ManualExport
from tailrace.state.ledger import Ledger
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tailrace.state.sealed import SealedFile, SealedHour
from torture.journal import Journal

HOURS = 8_760
KILLS = 20
# Ends of hours that are watched, in turn without and with the manual export running beside.
ENDS = 9
LABEL = "year by hand"
OBJECTS_AN_HOUR = 3

_LINES = 20
_HOURS_AT_ONCE = 500
# An exporter lives so long before it is killed, in seconds.
_LIFE_SECONDS = (0.5, 6.0)
# So long before its end an hour goes over to the pace of a real clock, with so many requests of so
# many events.
_REAL_SECONDS = 3
_REQUESTS, _EVENTS_A_REQUEST = 20, 100
_LOOK_SECONDS = 0.02
# The server's journal may be behind the server by this much.
_JOURNAL_SECONDS = 60

_RATIO = f"{LABEL}: end of the hour to the marker, with / without"
KILLS_BARS = [
    Bar(f"{LABEL}: objects missing", 0.0, most=True),
    Bar(f"{LABEL}: objects of other content", 0.0, most=True),
    Bar(f"{LABEL}: objects put twice", 0.0, most=True),
]
BESIDE_BARS = [Bar(_RATIO, 2.0, most=True)]


class Found(msgspec.Struct, frozen=True):
    """What an export took, and what its bucket then held."""

    seconds: float
    cpu_seconds: float
    kills: int
    missing: int
    other: int
    twice: int


def measure_kills(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Export a year while the exporter is killed; see that nothing lacks or was put twice."""
    hours, kills = max(24, int(HOURS * scale)), max(2, int(KILLS * scale))
    progress(f"size: {hours:,} hours by hand, {kills} kills")
    with service(folder / "killed", now_micros, 1) as (made, places):
        present = Hour.of_micros(now_micros)
        add_destinations(made.server, places, present, made.clock)
        expected = _fill(made.place, seed, present.plus(-hours), hours)
        made.clock.run()
        journal = Journal(made.server)
        try:
            export = _start(made, present.plus(-hours), present)
            found = _deliver(made, export, kills, random.Random(seed), expected, journal)
        finally:
            journal.end()
    values = {
        ("seconds", "s"): found.seconds,
        ("CPU of the exporter", "s"): found.cpu_seconds,
        ("CPU of the exporter, an hour", "ms"): found.cpu_seconds / hours * 1000,
        ("hours a second", "1/s"): hours / found.seconds,
        ("objects missing", ""): found.missing,
        ("objects of other content", ""): found.other,
        ("objects put twice", ""): found.twice,
    }
    return [figure(f"{LABEL}: {name}", unit, [value]) for (name, unit), value in values.items()], [
        f"{LABEL}: {hours:,} hours of {_LINES} lines, {OBJECTS_AN_HOUR} objects each; the exporter "
        f"was killed {found.kills} times."
    ]


def measure_beside(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Let hours end, in turn while a year's manual export is paused and while it runs."""
    hours, ends = max(500, int(HOURS * scale)), max(3, int(ENDS * scale))
    progress(f"size: {ends} ends of hours without, and {ends} with a manual export")
    present = Hour.of_micros(now_micros)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    with service(folder / "beside", present.start_micros, 1) as (made, places):
        add_destinations(made.server, places, present, made.clock)
        traffic = Traffic(places, seed, now_micros, _EVENTS_A_REQUEST, DISTINCT)
        made.start(*PARTS)
        # At its start the processor would not take a ledger that knows hours which it did not seal.
        _fill(made.place, seed, present.plus(-hours), hours)
        export = _start(made, present.plus(-hours), present)
        exports = _exports(made)
        try:
            exports.pause(export.id)
            for number in range(2 * ends):
                turn = "with" if number % 2 else "without"
                if turn == "with":
                    exports.resume(export.id)
                seconds[turn].append(_end(made, traffic, places[0], present.plus(number)))
                if turn == "with":
                    # A finished one can't be paused: then there were too few hours to measure by.
                    exports.pause(export.id)
            left = hours - Ledger(exports.engine, made.clock).progress(export.id).runs["success"]
        finally:
            exports.engine.dispose()
    both = {turn: median(found) for turn, found in seconds.items()}
    figures = [
        figure(f"{LABEL}: end of the hour to the marker, {turn}", "s", found)
        for turn, found in seconds.items()
    ]
    figures.append(figure(_RATIO, "ratio", [both["with"] / both["without"]]))
    return figures, [f"{LABEL}: {left:,} of {hours:,} hours were left when the last hour ended."]


def _fill(place: Place, seed: int, first: Hour, hours: int) -> dict[str, str]:
    """Seal hours of the past; return the keys that their export is to make, with MD5 of each."""
    folder = DataFolder(place.path)
    engine = open_database(folder.database)
    sync_nothing(engine)
    archive = FolderArchive(folder.packs, folder.archive, Files())
    ledger = Ledger(engine, folder.clock())
    chance = random.Random(seed)
    expected: dict[str, str] = {}
    try:
        for begin in range(0, hours, _HOURS_AT_ONCE):
            span = range(begin, min(hours, begin + _HOURS_AT_ONCE))
            with archive.new_files() as files:
                sealed = []
                for number in span:
                    one, body = _hour(place, first.plus(number), chance)
                    (file,) = one.files
                    files.write(archive.file_path(file.scope, file.hour, file.name), [body])
                    expected |= _objects(one, body)
                    sealed.append(one)
            ledger.add_hours(sealed)
    finally:
        engine.dispose()
    return expected


def _hour(place: Place, hour: Hour, chance: random.Random) -> tuple[SealedHour, bytes]:
    lines = b"".join(b'{"event_type":"%x"}\n' % chance.getrandbits(200) for _ in range(_LINES))
    body = gzip.compress(lines, 1, mtime=0)
    name = names.file_name(place.project, hour, 1)
    file = SealedFile(
        scope=place.project,
        hour=hour,
        number=1,
        name=name,
        size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        crc32=zlib.crc32(body),
        lines=_LINES,
        raw_bytes=len(lines),
    )
    record = manifest.record_bytes(
        manifest.SealRecord(
            format=manifest.RECORD_FORMAT,
            scope=place.project,
            organization=place.organization,
            hour=str(hour),
            files=(
                manifest.RecordFile(
                    name, _LINES, len(body), len(lines), file.sha256, f"{file.crc32:08x}"
                ),
            ),
            accepted=_LINES,
            exported=_LINES,
            duplicates=0,
            identifies=0,
            filtered=0,
            held=0,
            first_server_upload_time=None,
            last_server_upload_time=None,
            event_dates={hour.date: _LINES},
            settings=msgspec.Raw(b"null"),
            schema=manifest.EVENTS_SCHEMA,
            previous=None,
        )
    )
    digest = manifest.digest(record)
    return SealedHour(place.project, place.organization, hour, record, digest, (file,)), body


def _objects(hour: SealedHour, body: bytes) -> dict[str, str]:
    prefix, scope = prefix_of(hour.scope), hour.scope
    bodies = {
        names.file_key(prefix, scope, hour.hour, 1): body,
        names.manifest_key(prefix, scope, hour.hour): manifest.manifest_body(
            hour.record, hour.digest, prefix
        ),
        names.marker_key(prefix, scope, hour.hour): b"",
    }
    return {key: hashlib.md5(one).hexdigest() for key, one in bodies.items()}


def _exports(made: Service) -> ManualExports:
    engine = open_database(DataFolder(made.place.path).database)
    return ManualExports(engine, made.clock, by="benchmark")


def _start(made: Service, first: Hour, until: Hour) -> ManualExport:
    exports = _exports(made)
    try:
        return exports.start(
            NewManualExport(
                destination_id=1,
                from_hour=first,
                until_hour=until,
                include_events=True,
                include_merged_ids=False,
            )
        )
    finally:
        exports.engine.dispose()


def _deliver(
    made: Service,
    export: ManualExport,
    kills: int,
    chance: random.Random,
    expected: dict[str, str],
    journal: Journal,
) -> Found:
    """Run exporters, one after the other, until the export is finished."""
    exports = _exports(made)
    spent, killed = 0.0, 0
    began = time.monotonic()

    def finished() -> bool:
        time.sleep(_LOOK_SECONDS)
        return exports.get(export.id).state == "finished"

    try:
        while killed < kills and not finished():
            made.start("exporter")
            time.sleep(chance.uniform(*_LIFE_SECONDS))
            process_id = made.parts["exporter"].process_id
            spent += cpu_seconds(process_id)
            os.kill(process_id, signal.SIGKILL)
            made.parts.pop("exporter").stop()
            killed += 1
        if not finished():
            made.start("exporter")
            process_id = made.parts["exporter"].process_id
            made.wait(finished, "all hours are delivered")
            spent += cpu_seconds(process_id)
    finally:
        exports.engine.dispose()
    seconds = time.monotonic() - began
    held = _held(made)
    puts = _puts(journal, expected)
    return Found(
        seconds=seconds,
        cpu_seconds=spent,
        kills=killed,
        missing=len(expected.keys() - held.keys()),
        other=sum(held.get(key, md5) != md5 for key, md5 in expected.items())
        + len(held.keys() - expected.keys()),
        twice=sum(count - 1 for count in puts.values()),
    )


def _held(made: Service) -> dict[str, str]:
    """Return the bucket's keys, each with its ETag: the MD5 of what was put in one request."""
    pages = made.bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {
        one["Key"]: one["ETag"].strip('"') for page in pages for one in page.get("Contents", [])
    }


def _puts(journal: Journal, expected: dict[str, str]) -> Counter[str]:
    """Return how often each object was put, by the server's own journal."""
    until = time.monotonic() + _JOURNAL_SECONDS
    while True:
        puts = Counter(
            one.key for one in list(journal.happenings) if one.bucket == BUCKET and one.key
        )
        if expected.keys() <= puts.keys():
            return puts
        if time.monotonic() > until:
            raise RuntimeError("The S3 server's journal does not tell of all objects.")
        time.sleep(0.5)


def _end(made: Service, traffic: Traffic, place: Place, hour: Hour) -> float:
    """Play the end of an hour; return the seconds from there to its marker."""
    made.clock.move_to(hour.end_micros - _REAL_SECONDS * MICROS)
    made.clock.run()
    port = made.parts["collector"].port
    load.run(port, list(traffic.requests(_REQUESTS)), _REQUESTS, _REQUESTS)
    made.clock.sleep_until(hour.end_micros)
    prefix = prefix_of(place.project)

    def look() -> bool:
        time.sleep(_LOOK_SECONDS)
        return made.has_marker(prefix, place.project, hour)

    made.wait(look, "the marker is visible")
    seconds = (made.clock.now_micros() - hour.end_micros) / MICROS
    made.clock.stand()
    return seconds
