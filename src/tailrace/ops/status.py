"""`Status`: how the whole installation does, computed from what is on disk.

The same value is printed by `tailrace status` and shown by `/readyz` and `/metrics`.
"""

from __future__ import annotations

import msgspec
from sqlalchemy.engine import Engine

from tailrace.clock import Clock, to_datetime
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.log.reader import LogReader
from tailrace.ops.heartbeats import is_alive, read_heartbeats
from tailrace.state.delivery import LIVING_STATES, RunState
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger
from tailrace.state.mails import Mails
from tailrace.state.processing_view import Alarm, OpenHour, OpenMerges, ProcessingView

MICROS_PER_SECOND = 1_000_000

# Runs in trouble that are named, of each state: one screen holds them, the counts say how many.
TROUBLES_MAX = 5
TROUBLED: tuple[RunState, ...] = ("conflict", "failed", "retrying")


class PartStatus(msgspec.Struct, frozen=True):
    """One part of the service."""

    name: str
    up: bool
    counters: dict[str, float]


class PartitionStatus(msgspec.Struct, frozen=True):
    """One log partition: what is durable, and what is processed of it.

    `silent` means that it holds open an hour which is over by the clock: nothing in the log says
    yet that its collector has left that hour.
    """

    id: int
    durable_until: str | None
    processed_until: str | None
    lag_seconds: float | None
    silent: bool


class DestinationRuns(msgspec.Struct, frozen=True):
    """The runs of one destination by state, and the oldest sealed hour that it is still owed."""

    id: int
    name: str
    runs: dict[str, int]
    oldest_owed_hour: str | None


class Trouble(msgspec.Struct, frozen=True):
    """A run that waits for a person or for its next try: why, and what to do."""

    destination: int
    data_type: str
    hour: str
    state: str
    key: str | None
    sentence: str
    fix: str


class HourCounts(msgspec.Struct, frozen=True):
    """Hours of projects by state."""

    collecting: int
    sealed: int


class MailStatus(msgspec.Struct, frozen=True):
    """Addresses that wait for a mail, and those that did not get theirs; the newest reason."""

    waiting: int
    not_sent: int
    error: str | None


class Status(msgspec.Struct, frozen=True):
    """Everything `tailrace status` prints."""

    running: bool
    time: str
    parts: tuple[PartStatus, ...]
    addresses: dict[str, str]
    partitions: tuple[PartitionStatus, ...]
    silent_partitions: tuple[int, ...]
    hours: HourCounts
    open_hours: tuple[OpenHour, ...]
    open_merges: tuple[OpenMerges, ...]
    newest_sealed_hour: str | None
    oldest_owed_hour: str | None
    runs: dict[str, int]
    destinations: tuple[DestinationRuns, ...]
    troubles: tuple[Trouble, ...]
    held: int
    alarms: tuple[Alarm, ...]
    mail: MailStatus


class StatusReader:
    """Reads `Status` from a data folder; each call sees the present state."""

    def __init__(self, folder: DataFolder, engine: Engine, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._processing = ProcessingView(folder.processing_database)
        self._ledger = Ledger(engine, clock)
        self._book = Destinations(engine, clock)
        self._mails = Mails(engine, clock)

    def read(self) -> Status:
        """Compute the status now; reads a few small tables and files."""
        beats = {beat.part: beat for beat in read_heartbeats(self._folder.run)}
        service = beats.pop("serve", None)
        steady = self._clock.steady_micros()
        parts = tuple(
            PartStatus(beat.part, is_alive(beat, steady), beat.counters) for beat in beats.values()
        )
        partitions = self._partitions()
        open_hours = tuple(self._processing.open_hours())
        sealed = self._ledger.sealed_counts()
        # An organization's hours, of merged IDs, come with those of its projects.
        sealed_hours = sum(count.hours for count in sealed if count.scope > 0)
        destinations = self._destinations()
        runs: dict[str, int] = {}
        for destination in destinations:
            for state, count in destination.runs.items():
                runs[state] = runs.get(state, 0) + count
        return Status(
            running=service is not None and is_alive(service, steady),
            time=_text(self._clock.now_micros()),
            parts=parts,
            addresses={} if service is None else service.facts,
            partitions=partitions,
            silent_partitions=tuple(p.id for p in partitions if p.silent),
            hours=HourCounts(len(open_hours), sealed_hours),
            open_hours=open_hours,
            open_merges=tuple(self._processing.open_merges()),
            newest_sealed_hour=str(max(count.newest for count in sealed)) if sealed else None,
            oldest_owed_hour=min(
                (d.oldest_owed_hour for d in destinations if d.oldest_owed_hour), default=None
            ),
            runs=runs,
            destinations=destinations,
            troubles=self._troubles(),
            held=self._processing.held_count(),
            alarms=tuple(self._processing.alarms()),
            mail=self._mail(),
        )

    def _mail(self) -> MailStatus:
        counts = self._mails.counts()
        return MailStatus(counts.waiting, counts.not_sent, counts.error)

    def _destinations(self) -> tuple[DestinationRuns, ...]:
        owed = {lag.destination_id: lag.oldest_owed for lag in self._ledger.lags()}
        runs: dict[int, dict[str, int]] = {destination: {} for destination in owed}
        for count in self._ledger.run_counts():
            runs.setdefault(count.destination_id, {})[count.state] = count.runs
        # Read last, so that there is one for each number.
        known = self._book.list(states=(*LIVING_STATES, "deleted"))
        names = {one.id: one.name for one in known}
        return tuple(
            DestinationRuns(number, names[number], states, _hour_text(owed.get(number)))
            for number, states in sorted(runs.items())
        )

    def _troubles(self) -> tuple[Trouble, ...]:
        return tuple(
            Trouble(
                destination=run.destination_id,
                data_type=run.data_type,
                hour=str(run.hour),
                state=run.state,
                key=run.cause.key,
                sentence=run.cause.sentence,
                fix=run.cause.fix,
            )
            for state in TROUBLED
            for run in self._ledger.runs(states=(state,), limit=TROUBLES_MAX)
            if run.cause is not None
        )

    def _partitions(self) -> tuple[PartitionStatus, ...]:
        now = self._clock.now_micros()
        processed = {row.partition: row for row in self._processing.positions()}
        reader = LogReader(self._folder.log)
        silent = reader.silent_partitions(now)
        ends = reader.durable_ends()
        statuses = []
        reached = {row.partition: row.position for row in processed.values()}
        for partition in reader.partitions(reached):
            end = ends.get(partition)
            row = processed.get(partition)
            durable = None if end is None else end.stamp
            done = None if row is None else row.stamp
            lag = None
            if durable is not None and done is not None:
                lag = max(0, durable - done) / MICROS_PER_SECOND
            statuses.append(
                PartitionStatus(
                    id=partition,
                    durable_until=None if durable is None else _text(durable),
                    processed_until=None if done is None else _text(done),
                    lag_seconds=lag,
                    silent=partition in silent,
                )
            )
        return tuple(statuses)


def _text(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%dT%H:%M:%S.%fZ}"


def _hour_text(hour: Hour | None) -> str | None:
    return None if hour is None else str(hour)
