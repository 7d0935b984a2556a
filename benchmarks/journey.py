"""The whole journey beside its native floor: request to sealed file, and the same bytes natively.

Each round sends new events of known users to a collector, processes its log, and seals the hour;
the floor is measured over the same bodies and the lines that came out, right after.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec

from benchmarks import floor, load
from benchmarks.children import Child
from benchmarks.generator import USERS, Generator, bodies
from benchmarks.journal import Journal
from benchmarks.paired import Figure, figure, ratios
from benchmarks.places import Place, make_place
from benchmarks.processor import Bench
from benchmarks.report import Bar, progress
from tailrace.clock import SteppedClock
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.seal.names import file_name

EVENTS_A_REQUEST = 100
_CONNECTIONS = 32

BARS = [
    Bar("journey: CPU / native floor", 7.0, most=True, note="(4 is the aim)"),
    Bar("journey: exported bytes / gzip -6", 1.3, most=True),
]


class Round(msgspec.Struct, frozen=True):
    """CPU seconds of one round, and the sizes of what it exported."""

    collect: float
    process: float
    seal: float
    floor: floor.Floor | None
    exported_bytes: int
    gzip_six_bytes: int

    @property
    def seconds(self) -> float:
        """The journey's CPU seconds."""
        return self.collect + self.process + self.seal


def measure(
    seed: int, now_micros: int, rounds: int, events: int, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Take `rounds` journeys of `events` events; without simdjson the floor is left out."""
    source = Generator(seed, now_micros)
    parse = floor.parser()
    done = []
    for number in range(rounds):
        progress(f"journey: {number + 1} of {rounds}")
        place = make_place(folder / f"journey-{number}")
        done.append(_round(source, place, now_micros, events, parse))
    return _figures(done, events), [] if parse else [
        "The native floor is not measured: pysimdjson has wheels for Linux on x86-64 with "
        "Python below 3.14 only."
    ]


def _round(
    source: Generator, place: Place, now_micros: int, events: int, parse: floor.Parse | None
) -> Round:
    clock = SteppedClock(now_micros - 2 * HOUR_MICROS)
    known_in = Hour.of_micros(clock.now_micros())
    bench = Bench(place, clock)
    try:
        users = range(min(events, len(USERS)))
        _append(place, clock, bodies(place.api_key, source.one_each(users), EVENTS_A_REQUEST))
        bench.process()
        _end_hour(bench, place, clock)
        bench.seal()
        sent = bodies(place.api_key, source.events(events, users), EVENTS_A_REQUEST)
        collect = _collect(place, sent)
        clock.advance(2 * HOUR_MICROS)
        process = _end_hour(bench, place, clock)
        seal = bench.seal()
    finally:
        bench.close()
    earlier = file_name(place.project, known_in, 1)
    exported = [one for one in (place.path / "archive").rglob("*.gz") if one.name != earlier]
    lines = b"".join(gzip.decompress(one.read_bytes()) for one in exported)
    found = lines.count(b"\n")
    if found != events:
        raise RuntimeError(f"{events} events were sent, {found} lines came out.")
    return Round(
        collect=collect,
        process=process,
        seal=seal,
        floor=floor.measure(parse, sent, lines) if parse else None,
        exported_bytes=sum(one.stat().st_size for one in exported),
        gzip_six_bytes=floor.gzip_six_bytes(lines),
    )


def _end_hour(bench: Bench, place: Place, clock: SteppedClock) -> float:
    """Let the log's next hour begin, so that the one before can be sealed; return CPU seconds."""
    clock.advance(HOUR_MICROS)
    _append(place, clock, [])
    return bench.process().seconds


def _append(place: Place, clock: SteppedClock, sent: list[bytes]) -> None:
    journal = Journal(place, clock)
    try:
        journal.append(sent, EVENTS_A_REQUEST)
    finally:
        journal.close()


def _collect(place: Place, sent: list[bytes]) -> float:
    """Send the bodies to a collector; return its CPU seconds."""
    requests = [load.http_request(body) for body in sent]
    with Child("collector", "benchmarks.serve_full", str(place.path)) as collector:
        before = collector.cpu_seconds()
        load.run(collector.port, requests, len(requests), _CONNECTIONS)
        return collector.cpu_seconds() - before


def _figures(done: list[Round], events: int) -> list[Figure]:
    def micros(name: str, values: list[float]) -> Figure:
        return figure(f"journey: CPU, {name}", "us/event", [v / events * 1e6 for v in values])

    whole = [one.seconds for one in done]
    figures = [
        micros("collect", [one.collect for one in done]),
        micros("process", [one.process for one in done]),
        micros("seal", [one.seal for one in done]),
        micros("all", whole),
    ]
    floors = [one.floor for one in done if one.floor is not None]
    if floors:
        lowest = [one.seconds for one in floors]
        figures += [
            micros("native floor", lowest),
            figure(
                "journey: CPU / native floor",
                "ratio",
                ratios([one.seconds for one in done], lowest),
            ),
        ]
    exported = [one.exported_bytes for one in done]
    packed = [one.gzip_six_bytes for one in done]
    return [
        *figures,
        figure("journey: exported", "bytes/event", [size / events for size in exported]),
        figure("journey: exported bytes / gzip -6", "ratio", ratios(exported, packed)),
    ]
