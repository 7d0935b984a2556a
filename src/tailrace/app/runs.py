"""Export status: the runs as people list them, and all that is known of one hour's."""

from __future__ import annotations

from typing import TypeVar, get_args

import msgspec
from sqlalchemy.engine import Engine

from tailrace.clock import MICROS, Clock
from tailrace.errors import BadRequest
from tailrace.export.ranges import parse_open_range
from tailrace.hours import Hour
from tailrace.seal.manifest import decode_record
from tailrace.state.delivery import AUTOMATIC, RUN_STATES, DataType
from tailrace.state.destinations import Destinations
from tailrace.state.ledger_view import LedgerView
from tailrace.state.manual_exports import ManualExports
from tailrace.state.reports import RUNS_MAX, DeliveredFile, Run, RunSort

# Where nothing else is said. The ledger gives a thousand at once, and one tells of more.
RUNS_DEFAULT = 100
RUNS_MOST = RUNS_MAX - 1

_DATA_TYPES: tuple[DataType, ...] = get_args(DataType)
_SORTS: tuple[RunSort, ...] = get_args(RunSort)
Word = TypeVar("Word", bound=str)


class RunsAsked(msgspec.Struct, frozen=True):
    """Which runs to list; what is None narrows nothing. Automatic ones without `manual_export`.

    With None for it those of every trigger: automatic ones and those of all manual exports. `sort`
    is `hour` or `completed`, both with the newest first (R46); the first `skip` are left out.
    """

    destination_id: int | None = None
    states: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    manual_export: int | None = AUTOMATIC
    data_type: str | None = None
    sort: str = "hour"
    skip: int = 0
    limit: int = RUNS_DEFAULT


class RunList(msgspec.Struct, frozen=True):
    """The runs that were asked for; `more` if the limit left some out."""

    runs: tuple[Run, ...]
    more: bool


class Equation(msgspec.Struct, frozen=True):
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
    """One run with its files; `equation` is None while the hour is open.

    `delay_seconds` is the time from the end of the hour until an automatic run was completed.
    `event_dates` counts the lines by the UTC date on which they say that they happened.
    """

    run: Run
    files: tuple[FileOfRun, ...]
    equation: Equation | None
    delay_seconds: float | None
    event_dates: dict[str, int] = {}


class HourDetail(msgspec.Struct, frozen=True):
    """Every run of an hour. `over` once hours as late as this one are sealed."""

    hour: Hour
    over: bool
    runs: tuple[RunDetail, ...]


def list_runs(
    engine: Engine, clock: Clock, asked: RunsAsked, *, within: int | None = None
) -> RunList:
    """Return runs, the newest first; raise `BadRequest` that names the field that is wrong.

    `within` is the organization whose person asks; None is the operator.
    """
    hours = parse_open_range(asked.first, asked.last, Hour.of_micros(clock.now_micros()))
    _check_destination(engine, clock, asked.destination_id, within)
    if asked.manual_export not in (None, AUTOMATIC):
        ManualExports(engine, clock, within=within).get(asked.manual_export)
    limit = min(asked.limit, RUNS_MOST)
    found = LedgerView(engine, clock, within=within).runs(
        destination_id=asked.destination_id,
        states=tuple(_one_of("status", name, RUN_STATES) for name in asked.states),
        since=hours.from_hour,
        before=hours.until_hour,
        manual_export=asked.manual_export,
        data_type=None
        if asked.data_type is None
        else _one_of("data type", asked.data_type, _DATA_TYPES),
        sort=_one_of("sort", asked.sort, _SORTS),
        skip=asked.skip,
        limit=limit + 1,
    )
    return RunList(tuple(found[:limit]), more=len(found) > limit)


def hour_detail(
    engine: Engine,
    clock: Clock,
    hour: Hour,
    destination_id: int | None,
    *,
    within: int | None = None,
) -> HourDetail:
    """Return what is known of an hour: automatic runs and those of manual exports.

    `within` is the organization whose person asks; None is the operator.
    """
    _check_destination(engine, clock, destination_id, within)
    ledger = LedgerView(engine, clock, within=within)
    newest = ledger.newest_sealed_hour()
    return HourDetail(
        hour=hour,
        over=newest is not None and hour <= newest,
        runs=tuple(
            _detail(ledger, run) for run in ledger.runs(hour=hour, destination_id=destination_id)
        ),
    )


def _check_destination(
    engine: Engine, clock: Clock, destination_id: int | None, within: int | None
) -> None:
    if destination_id is not None:
        Destinations(engine, clock, within=within).get(destination_id)


def _one_of(field: str, name: str, known: tuple[Word, ...]) -> Word:
    for one in known:
        if one == name:
            return one
    raise BadRequest(f"The {field} {name!r}: choose from {', '.join(known)}.")


def _delay_seconds(run: Run) -> float | None:
    if run.manual_export != AUTOMATIC or run.state != "success" or run.finished_micros is None:
        return None
    return round((run.finished_micros - run.hour.end_micros) / MICROS, 1)


def _files(ledger: LedgerView, run: Run) -> tuple[FileOfRun, ...]:
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


def _detail(ledger: LedgerView, run: Run) -> RunDetail:
    files, delay_seconds = _files(ledger, run), _delay_seconds(run)
    sealed = ledger.sealed_hour(run.scope, run.hour)
    if sealed is None:
        return RunDetail(run, files, None, delay_seconds)
    record = decode_record(sealed.record)
    equation = Equation(
        accepted=record.accepted,
        exported=record.exported,
        duplicates=record.duplicates,
        identifies=record.identifies,
        filtered=record.filtered,
        held=record.held,
    )
    return RunDetail(run, files, equation, delay_seconds, record.event_dates)
