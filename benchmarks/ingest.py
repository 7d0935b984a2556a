"""Ingest to the durable 200: the whole collector beside a server that only decodes.

All servers run at once, each as a process; the client loads them in turn. CPU is the server's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import generator, load
from benchmarks.children import Child
from benchmarks.paired import Figure, alternate, figure, ratios
from benchmarks.places import make_place
from benchmarks.report import Bar, progress


class Size(msgspec.Struct, frozen=True):
    """One size of request: how many a round sends, over how many connections."""

    events: int
    requests: int
    connections: int


# A round lasts some tenths of a second of CPU, long against the clock's resolution and a commit.
SIZES = (Size(1, 4000, 64), Size(10, 2000, 64), Size(100, 500, 32), Size(1000, 50, 8))
_DISTINCT_REQUESTS = 200  # sent in turn; the collector treats a repeated request as any other

BARS = [
    Bar("100 events a request: CPU, collector / base", 2.0, most=True),
    Bar("10 events a request: events/s, durable / not synced", 0.85, most=False),
    Bar("100 events a request: events/s, durable / not synced", 0.85, most=False),
    Bar("1,000 events a request: events/s, durable / not synced", 0.85, most=False),
    Bar("1 event a request: CPU, collector / base", 2.0, most=True),
    Bar("100 events a request: events/s a core, collector", 100_000, most=False, note="(an aim)"),
]


class Cost(msgspec.Struct, frozen=True):
    """One round: the server's CPU microseconds, and events answered a second of wall time."""

    micros_an_event: float
    events_a_second: float


def measure(seed: int, now_micros: int, rounds: int, share: float, folder: Path) -> list[Figure]:
    """Measure every size with a `share` of its requests; the log is written under `folder`."""
    source = generator.Generator(seed, now_micros)
    figures: list[Figure] = []
    synced, unsynced = make_place(folder / "synced"), make_place(folder / "unsynced")
    with (
        Child("base", "benchmarks.serve_base") as base,
        Child("collector", "benchmarks.serve_full", str(synced.path)) as full,
        Child("unsynced", "benchmarks.serve_full", str(unsynced.path), "--no-sync") as loose,
    ):
        api_keys = {"unsynced": unsynced.api_key}
        for size in (_part(size, share) for size in SIZES):
            progress(f"ingest: {_label(size)}")
            events = _events(source, size)
            sides = {
                child.name: functools.partial(
                    _round,
                    child,
                    requests_of(events, size.events, api_keys.get(child.name, synced.api_key)),
                    size,
                )
                for child in (base, full, loose)
            }
            for warm_up in sides.values():
                warm_up()
            figures += _figures(_label(size), alternate(sides, rounds))
    return figures


def profile(seed: int, now_micros: int, folder: Path, results: Path) -> list[Path]:
    """Load a profiled collector with requests of 1 and of 100 events; return the texts."""
    source = generator.Generator(seed, now_micros)
    texts = []
    for size in (SIZES[0], SIZES[2]):
        texts.append(results / f"profile-ingest-{size.events}.txt")
        progress(f"profile: ingest, {_label(size)}")
        place = make_place(folder / f"profiled-{size.events}")
        arguments = (str(place.path), "--profile", str(texts[-1]))
        with Child("profiled", "benchmarks.serve_full", *arguments) as child:
            requests = requests_of(_events(source, size), size.events, place.api_key)
            load.run(child.port, requests, 2 * size.requests, size.connections)
    return texts


def _part(size: Size, share: float) -> Size:
    return msgspec.structs.replace(size, requests=max(int(size.requests * share), size.connections))


def requests_of(events: list[bytes], each: int, api_key: str) -> list[bytes]:
    """Return whole HTTP requests of `each` events."""
    return [load.http_request(one) for one in generator.bodies(api_key, events, each)]


def _events(source: generator.Generator, size: Size) -> list[bytes]:
    return source.events(min(_DISTINCT_REQUESTS, size.requests) * size.events)


def _round(child: Child, requests: Sequence[bytes], size: Size) -> Cost:
    before = child.cpu_seconds()
    done = load.run(child.port, requests, size.requests, size.connections)
    spent = child.cpu_seconds() - before
    events = size.requests * size.events
    return Cost(spent / events * 1e6, events / done.seconds)


def _figures(label: str, costs: dict[str, list[Cost]]) -> list[Figure]:
    base, full, loose = (
        [cost.micros_an_event for cost in costs[name]] for name in ("base", "collector", "unsynced")
    )
    wall, loose_wall = (
        [cost.events_a_second for cost in costs[name]] for name in ("collector", "unsynced")
    )
    cores = [1e6 / micros for micros in full]
    return [
        figure(f"{label}: CPU, base server", "us/event", base),
        figure(f"{label}: CPU, collector", "us/event", full),
        figure(f"{label}: CPU, collector / base", "ratio", ratios(full, base)),
        figure(f"{label}: events/s a core, collector", "events/s", cores),
        figure(f"{label}: events/s, durable / not synced", "ratio of CPU", ratios(loose, full)),
        figure(f"{label}: wall clock, durable / not synced", "ratio", ratios(wall, loose_wall)),
        figure(f"{label}: events/s of wall clock, durable", "events/s", wall),
    ]


def _label(size: Size) -> str:
    return f"{size.events:,} event{'s' if size.events > 1 else ''} a request"
