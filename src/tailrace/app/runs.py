"""Export status: the runs as people list them, and all that is known of one hour's."""

from __future__ import annotations

import msgspec
from sqlalchemy.engine import Engine

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.export.ranges import HourRange, parse_range
from tailrace.hours import Hour
from tailrace.seal.manifest import decode_record
from tailrace.state.delivery import AUTOMATIC, RUN_STATES, RunState
from tailrace.state.destinations import Destinations
from tailrace.state.ledger import Ledger
from tailrace.state.manual_exports import ManualExports
from tailrace.state.reports import DeliveredFile, Run

# Where nothing else is said; the ledger gives no more than a thousand at once.
RUNS_DEFAULT = 100

# No hour is older, so a range without a beginning begins here.
_FIRST_DATE = "1970-01-01"


class RunsAsked(msgspec.Struct, frozen=True):
    """Which runs to list; what is None narrows nothing. Automatic ones without `manual_export`."""

    destination_id: int | None = None
    states: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    manual_export: int = AUTOMATIC
    limit: int = RUNS_DEFAULT


class Account(msgspec.Struct, frozen=True):
    """A sealed hour's equation: accepted = exported + duplicates + identifies + filtered + held."""

    accepted: int
    exported: int
    duplicates: int
    identifies: int
    filtered: int
    held: int


class FileOfRun(msgspec.Struct, frozen=True):
    """A file of an hour, and where it lies in the bucket once it was delivered."""

    number: int
    name: str
    lines: int
    size_bytes: int
    sha256: str
    delivered: DeliveredFile | None


class RunDetail(msgspec.Struct, frozen=True):
    """One run with its files; `account` is None while the hour is open."""

    run: Run
    files: tuple[FileOfRun, ...]
    account: Account | None


def list_runs(engine: Engine, clock: Clock, asked: RunsAsked) -> list[Run]:
    """Return runs, newest hour first; raise `BadRequest` that names the option that is wrong."""
    hours = range_of(asked.first, asked.last, clock)
    _check_destination(engine, clock, asked.destination_id)
    if asked.manual_export != AUTOMATIC:
        ManualExports(engine, clock).get(asked.manual_export)
    return Ledger(engine, clock).runs(
        destination_id=asked.destination_id,
        states=_states(asked.states),
        since=hours.from_hour,
        before=hours.until_hour,
        manual_export=asked.manual_export,
        limit=asked.limit,
    )


def run_details(
    engine: Engine, clock: Clock, hour: Hour, destination_id: int | None
) -> list[RunDetail]:
    """Return every run of an hour, automatic ones and those of manual exports."""
    _check_destination(engine, clock, destination_id)
    ledger = Ledger(engine, clock)
    return [
        RunDetail(run, _files(ledger, run), _account(ledger, run))
        for run in ledger.runs(hour=hour, destination_id=destination_id)
    ]


def range_of(first: str | None, last: str | None, clock: Clock) -> HourRange:
    """Return the range of a list, of which either end may be left open."""
    now = Hour.of_micros(clock.now_micros())
    return parse_range(first or _FIRST_DATE, last or now.date, now)


def _check_destination(engine: Engine, clock: Clock, destination_id: int | None) -> None:
    if destination_id is not None:
        Destinations(engine, clock).get(destination_id)


def _states(names: tuple[str, ...]) -> tuple[RunState, ...]:
    known = {str(state): state for state in RUN_STATES}
    for name in names:
        if name not in known:
            raise BadRequest(f"--status {name!r}: choose from {', '.join(known)}.")
    return tuple(known[name] for name in names)


def _files(ledger: Ledger, run: Run) -> tuple[FileOfRun, ...]:
    delivered = {
        file.number: file
        for file in ledger.delivered_files(
            run.destination_id, run.data_type, run.hour, manual_export=run.manual_export
        )
    }
    return tuple(
        FileOfRun(
            number=file.number,
            name=file.name,
            lines=file.lines,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            delivered=delivered.get(file.number),
        )
        for file in ledger.files_of_hour(run.scope, run.hour)
    )


def _account(ledger: Ledger, run: Run) -> Account | None:
    sealed = ledger.sealed_hour(run.scope, run.hour)
    if sealed is None:
        return None
    record = decode_record(sealed.record)
    return Account(
        accepted=record.accepted,
        exported=record.exported,
        duplicates=record.duplicates,
        identifies=record.identifies,
        filtered=record.filtered,
        held=record.held,
    )
