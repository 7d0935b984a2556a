"""Thousands of quiet projects with one event a minute each: what a minute and an hour's end cost.

The first hour has no destinations, so that checkpoints and sealing stand alone; in the second some
of the projects have one each.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import sqlalchemy as sa

from benchmarks import load
from benchmarks.paired import Figure, figure
from benchmarks.report import Bar, progress
from benchmarks.size.part import Spent
from benchmarks.size.sampling import MIB, Sampler
from benchmarks.size.service import PARTS, Service, add_destinations, service
from benchmarks.size.traffic import Traffic
from tailrace.clock import MICROS
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.state.database import open_database, reading
from tailrace.state.tables import delivery, sealed_hour

PROJECTS = 5_000
# Each takes three objects; so many say what one costs.
DESTINATIONS = 500
# Enough that a minute's share of a checkpoint is not by chance.
MINUTES = 4
LABEL = "quiet projects"
_CONNECTIONS = 16
# A minute is sent in so many steps, between which the log's clock moves on.
_STEPS = 12
_MINUTE_MICROS = 60 * MICROS
# So long before its end an hour goes over to the pace of a real clock.
_REAL_SECONDS = 5
_LOOK_SECONDS = 0.1

BARS = [
    Bar(f"{LABEL}: CPU of checkpoints and the hour's end, a minute of the hour", 1.0, most=True),
    Bar(f"{LABEL}: CPU of checkpoints, a minute", 1.0, most=True),
    Bar(f"{LABEL}: CPU of checkpoints and the hour's end, its minute", 1.0, most=True),
    Bar(f"{LABEL}: RssAnon, most of any process", 300.0, most=True),
]


class Costs(msgspec.Struct, frozen=True):
    """CPU seconds so far: of each process, and of the processor's kinds of work."""

    processes: dict[str, float]
    spent: Spent


def measure(
    seed: int, now_micros: int, scale: float, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Play some minutes and two hours' ends."""
    projects = max(2, int(PROJECTS * scale))
    destinations = min(DESTINATIONS, projects)
    progress(f"size: {projects:,} quiet projects")
    hour = Hour.of_micros(now_micros)
    with service(folder / "quiet", hour.start_micros, projects) as (made, places):
        traffic = Traffic(places, seed, now_micros, 1, projects)
        made.start(*PARTS)
        with Sampler({name: made.parts[name].process_id for name in PARTS}) as sampler:
            # The first minute brings every device and person; those after it are the usual ones.
            _play_minute(made, traffic, projects)
            costs = [_costs(made, sampler)]
            for _ in range(MINUTES):
                _play_minute(made, traffic, projects)
            costs.append(_costs(made, sampler))
            sealed_seconds = _end(made, hour, lambda: _sealed(made, hour) > projects)
            costs.append(_costs(made, sampler))
            progress(f"size: {destinations:,} destinations")
            add_destinations(made.server, places[:destinations], hour.next(), made.clock)
            _play_minute(made, traffic, projects)
            costs.append(_costs(made, sampler))
            marker_seconds = _end(
                made, hour.next(), lambda: _delivered(made, hour.next()) == destinations
            )
            costs.append(_costs(made, sampler))
    return _figures(costs, sampler, sealed_seconds, marker_seconds), [
        f"{LABEL}: {projects:,} projects, {MINUTES} minutes; {destinations:,} of them have a "
        f"destination in the second hour. Log time runs faster than a clock, "
        "so the look of an idle service at its log is left out."
    ]


def _play_minute(made: Service, traffic: Traffic, projects: int) -> None:
    """Send one event of each project within a minute of the log's time."""
    began = made.clock.now_micros()
    sent = 0
    for number in range(1, _STEPS + 1):
        due = projects * number // _STEPS - sent
        if due:
            port = made.parts["collector"].port
            load.run(port, list(traffic.requests(due)), due, min(due, _CONNECTIONS))
            sent += due
        made.wait(lambda: made.processed_entries() >= traffic.sent, "the processor follows")
        made.clock.move_to(began + _MINUTE_MICROS * number // _STEPS)


def _end(made: Service, hour: Hour, done: object) -> float:
    """Cross an hour's end; return the seconds from there until `done()`, then stand still."""
    made.clock.move_to(hour.end_micros - _REAL_SECONDS * MICROS)
    # What is open is committed before, as it is in a real hour but for its last half minute.
    time.sleep(_REAL_SECONDS / 2)
    made.clock.run()
    made.clock.sleep_until(hour.end_micros)
    made.wait(done, "the hour's work is done")
    seconds = (made.clock.now_micros() - hour.end_micros) / MICROS
    made.clock.stand()
    return seconds


def _costs(made: Service, sampler: Sampler) -> Costs:
    return Costs(sampler.cpu_seconds(), made.parts["processor"].spent())


def _sealed(made: Service, hour: Hour) -> int:
    """Count the sealed hours that the ledger has taken over: of projects and organizations."""
    return _count(made, sealed_hour.c.hour == hour.number)


def _delivered(made: Service, hour: Hour) -> int:
    return _count(made, sa.and_(delivery.c.hour == hour.number, delivery.c.state == "success"))


def _count(made: Service, where: sa.ColumnElement[bool]) -> int:
    time.sleep(_LOOK_SECONDS)
    engine = open_database(DataFolder(made.place.path).database)
    try:
        with reading(engine) as connection:
            counted = sa.select(sa.func.count()).where(where)
            return int(connection.execute(counted).scalar_one())
    finally:
        engine.dispose()


def _figures(
    costs: list[Costs], sampler: Sampler, sealed_seconds: float, marker_seconds: float
) -> list[Figure]:
    first, minutes, sealed, before, delivered = costs

    def cpu(name: str, began: Costs, ended: Costs) -> float:
        return ended.processes[name] - began.processes[name]

    checkpoints = (minutes.spent.checkpoints - first.spent.checkpoints) / MINUTES
    # Nothing else was left to do when the hour ended, so all of it is the hour's end: also the
    # threads that write the files.
    end = cpu("processor", minutes, sealed)
    values = {
        "CPU of checkpoints, a minute": checkpoints,
        "CPU of the collector, a minute": cpu("collector", first, minutes) / MINUTES,
        "CPU of the processor, a minute": cpu("processor", first, minutes) / MINUTES,
        "CPU of the processor, hour's end": end,
        "of that, the main thread's sealing": sealed.spent.closer - minutes.spent.closer,
        "CPU of checkpoints and the hour's end, its minute": checkpoints + end,
        "CPU of checkpoints and the hour's end, a minute of the hour": checkpoints + end / 60,
        "CPU of the exporter, end of an hour with destinations": cpu("exporter", before, delivered),
        "CPU of the processor, end of an hour with destinations": cpu(
            "processor", before, delivered
        ),
    }
    figures = [figure(f"{LABEL}: {name}", "s", [value]) for name, value in values.items()]
    figures += [
        figure(f"{LABEL}: end of the hour to all sealed", "s", [sealed_seconds]),
        figure(f"{LABEL}: end of the hour to all delivered", "s", [marker_seconds]),
    ]
    for name in PARTS:
        peak = sampler.peaks[name].anonymous / MIB
        figures.append(figure(f"{LABEL}: RssAnon, {name}", "MiB", [peak]))
    most = max(sampler.peaks[name].anonymous for name in PARTS) / MIB
    return [*figures, figure(f"{LABEL}: RssAnon, most of any process", "MiB", [most])]
