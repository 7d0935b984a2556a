"""One hour of five million events, sent evenly or all in its last ten minutes, to its marker.

The last stretch of the hour, and all after it, pass at the pace of a real clock: what the processor
has still to do when the hour ends is what it would have in a real one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import load
from benchmarks.paired import Figure, figure
from benchmarks.places import Place
from benchmarks.report import Bar, progress
from benchmarks.size.sampling import MIB, Sampler
from benchmarks.size.service import BUCKET, PARTS, Service, add_destinations, prefix_of, service
from benchmarks.size.traffic import DISTINCT, Traffic
from tailrace.clock import MICROS
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.seal.names import manifest_key

EVENTS = 5_000_000
EVENTS_A_REQUEST = 100
# In the even hour all but this stretch is played as fast as the processor follows.
REAL_SECONDS = 40
# The late hour's events come in this time, at the pace of a real clock.
LATE_SECONDS = 600
_CONNECTIONS = 8
# The played stretch is sent in so many slices; the log's clock stands still during each.
_SLICES = 600
# Events that the processor may be behind while an hour is played: some seconds of work for it. In
# a real hour of five million evenly sent events it would have more time.
_BEHIND_MAX = 60_000
# A real stretch is sent in steps of this length.
_STEP_SECONDS = 0.2
_LOOK_SECONDS = 0.05
# Projects of the hour that has many, and their events in all.
MANY_PROJECTS = 100
MANY_EVENTS = 1_000_000


class Shape(msgspec.Struct, frozen=True):
    """An hour to be played: so many events before its real stretch, so many in it."""

    label: str
    projects: int
    played: int
    real: int
    real_seconds: float


class Ending(msgspec.Struct, frozen=True):
    """The hour's end: each part's CPU seconds by then, and the seconds to each marker.

    `late_seconds` is by how much the sending of its events was not done at the end.
    """

    cpu_seconds: dict[str, float]
    markers: list[float]
    late_seconds: float


class _Seal(msgspec.Struct, frozen=True):
    exported: int


class _Manifest(msgspec.Struct, frozen=True):
    seal: _Seal


def bars(label: str) -> list[Bar]:
    """Return the bars of an hour."""
    return [
        Bar(f"{label}: end of the hour to the last marker", 10.0, most=True),
        Bar(f"{label}: RssAnon, most of any process", 300.0, most=True),
    ]


EVEN, LATE, MANY = "even hour", "late hour", f"hour of {MANY_PROJECTS} projects"
BARS = {label: bars(label) for label in (EVEN, LATE, MANY)}


def measure_even(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Play an hour of evenly sent events."""
    events = int(EVENTS * scale)
    real = int(events * REAL_SECONDS * MICROS / HOUR_MICROS)
    shape = Shape(EVEN, 1, events - real, real, REAL_SECONDS)
    return measure(shape, seed, now_micros, folder / "even")


def measure_late(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Play an hour whose events come in its last ten minutes; a scale shortens these."""
    shape = Shape(LATE, 1, 0, int(EVENTS * scale), LATE_SECONDS * scale)
    return measure(shape, seed, now_micros, folder / "late")


def measure_many(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Play an hour of a hundred projects, each with a destination of its own."""
    events = int(MANY_EVENTS * scale)
    real = int(events * REAL_SECONDS * MICROS / HOUR_MICROS)
    shape = Shape(MANY, MANY_PROJECTS, events - real, real, REAL_SECONDS)
    return measure(shape, seed, now_micros, folder / "many")


def measure(
    shape: Shape, seed: int, now_micros: int, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Play an hour and measure it; raise if its manifests do not hold what was sent."""
    progress(f"size: {shape.label}, {shape.played + shape.real:,} events")
    hour = Hour.of_micros(now_micros)
    with service(folder, hour.start_micros, shape.projects) as (made, places):
        add_destinations(made.server, places, hour, made.clock)
        distinct = max(DISTINCT, shape.projects)
        traffic = Traffic(places, seed, now_micros, EVENTS_A_REQUEST, distinct)
        made.start(*PARTS)
        with Sampler(_processes(made)) as sampler:
            began = time.monotonic()
            _play(made, traffic, shape, hour)
            ending = _pass_end(made, traffic, places, shape, hour, sampler)
            after = sampler.cpu_seconds()
        seconds = time.monotonic() - began
        spent = made.parts["processor"].spent()
        exported = _exported(made, places, hour)
        kept = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    label, at_end, events = shape.label, ending.cpu_seconds, traffic.sent * EVENTS_A_REQUEST
    if exported > events or (exported < events and not ending.late_seconds):
        raise RuntimeError(f"{events:,} events were sent in the hour, {exported:,} were exported.")
    figures = []
    for name in (*PARTS, "S3 server"):
        peak = sampler.peaks[name]
        figures += [
            figure(f"{label}: RssAnon, {name}", "MiB", [peak.anonymous / MIB]),
            figure(f"{label}: mapped files, {name}", "MiB", [peak.mapped / MIB]),
            figure(f"{label}: CPU of the hour, {name}", "s", [at_end[name]]),
            figure(f"{label}: CPU of its end, {name}", "s", [after[name] - at_end[name]]),
        ]
    most = max(sampler.peaks[name].anonymous for name in PARTS) / MIB
    figures += [
        figure(f"{label}: CPU of checkpoints", "s", [spent.checkpoints]),
        figure(f"{label}: RssAnon, most of any process", "MiB", [most]),
        figure(f"{label}: data folder", "MiB", [kept / MIB]),
        figure(f"{label}: end of the hour to the first marker", "s", [min(ending.markers)]),
        figure(f"{label}: end of the hour to the last marker", "s", [max(ending.markers)]),
    ]
    remarks = [
        f"{label}: {events:,} events of {shape.projects} projects, the last {shape.real:,} in "
        f"{shape.real_seconds:.0f} s of real time; {seconds:.0f} s of wall time in all."
    ]
    if exported < events:
        remarks.append(
            f"{label}: {events - exported:,} events were sent {ending.late_seconds:.1f} s after "
            "the hour's end: this machine was too busy for that rate, so the end's figures are "
            "too good."
        )
    return figures, remarks


def _processes(made: Service) -> dict[str, int]:
    found = {name: part.process_id for name, part in made.parts.items()}
    return found | {"S3 server": made.server.process_id}


def _play(made: Service, traffic: Traffic, shape: Shape, hour: Hour) -> None:
    """Let the hour pass in steps up to its real stretch, never far ahead of the processor."""
    until = hour.end_micros - int(shape.real_seconds * MICROS)
    requests = shape.played // EVENTS_A_REQUEST
    sent = 0
    for number in range(1, _SLICES + 1):
        due = requests * number // _SLICES - sent
        if due:
            load.run(_port(made), list(traffic.requests(due)), due, min(due, _CONNECTIONS))
            sent += due
        made.clock.move_to(hour.start_micros + (until - hour.start_micros) * number // _SLICES)
        _let_follow(made, sent)


def _let_follow(made: Service, sent: int) -> None:
    least = sent - _BEHIND_MAX // EVENTS_A_REQUEST
    made.wait(lambda: made.processed_entries() >= least, "the processor follows")


def _pass_end(
    made: Service,
    traffic: Traffic,
    places: Sequence[Place],
    shape: Shape,
    hour: Hour,
    sampler: Sampler,
) -> Ending:
    """Send the real stretch at its rate, cross the hour's end, and wait for the markers."""
    requests = shape.real // EVENTS_A_REQUEST
    began = hour.end_micros - int(shape.real_seconds * MICROS)
    # All is sent before the last step begins.
    whole = shape.real_seconds - 2 * _STEP_SECONDS
    sent = 0
    made.clock.run()
    while sent < requests:
        now = made.clock.now_micros()
        share = min(1.0, ((now - began) / MICROS + _STEP_SECONDS) / whole)
        due = int(requests * share) - sent
        if due > 0:
            load.run(_port(made), list(traffic.requests(due)), due, min(due, _CONNECTIONS))
            sent += due
        made.clock.sleep_until(now + int(_STEP_SECONDS * MICROS))
    late_seconds = max(0.0, (made.clock.now_micros() - hour.end_micros) / MICROS)
    made.clock.sleep_until(hour.end_micros)
    at_end = sampler.cpu_seconds()
    return Ending(at_end, _wait_for_markers(made, places, hour), late_seconds)


def _wait_for_markers(made: Service, places: Sequence[Place], hour: Hour) -> list[float]:
    left = [place.project for place in places]
    seconds: list[float] = []

    def look() -> bool:
        while left and made.has_marker(prefix_of(left[0]), left[0], hour):
            seconds.append((made.clock.now_micros() - hour.end_micros) / MICROS)
            left.pop(0)
        if left:
            time.sleep(_LOOK_SECONDS)
        return not left

    made.wait(look, "every marker is visible")
    return seconds


def _exported(made: Service, places: Sequence[Place], hour: Hour) -> int:
    found = 0
    for place in places:
        key = manifest_key(prefix_of(place.project), place.project, hour)
        body = made.bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        found += msgspec.json.decode(body, type=_Manifest).seal.exported
    return found


def _port(made: Service) -> int:
    return made.parts["collector"].port
