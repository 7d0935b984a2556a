"""`runs`: the export status, as lists and hour by hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli.backfill import (
    FirstOption,
    LastOption,
    StatusOption,
    list_manual_exports,
)
from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    open_folder,
    print_json,
    print_lines,
    print_table,
)
from tailrace.cli.times import optional_time_text, time_text
from tailrace.clock import MICROS
from tailrace.errors import BadRequest
from tailrace.hours import Hour, hour_label
from tailrace.notify.amounts import counted

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from tailrace.app.runs import Equation, HourDetail, RunDetail, RunList
    from tailrace.clock import Clock
    from tailrace.state.delivery import Cause
    from tailrace.state.reports import Run

# A list names so many reasons why runs are in trouble.
CAUSES_MAX = 5
_TROUBLED = ("retrying", "failed", "conflict")


class _Run(msgspec.Struct, frozen=True):
    """A run as scripts read it; `manual_export` is null for an automatic one."""

    status: str
    hour: str
    completed_at: str | None
    destination_id: int
    data_type: str
    manual_export: int | None
    files: int
    files_delivered: int
    attempts: int
    cause: Cause | None


class _Try(msgspec.Struct, frozen=True):
    began_at: str
    ended_at: str | None
    seconds: float | None
    outcome: str
    cause: Cause | None


class _File(msgspec.Struct, frozen=True):
    name: str
    lines: int
    bytes: int
    sha256: str
    key: str | None
    how: str | None
    delivered_at: str | None


class _Detail(msgspec.Struct, frozen=True):
    """A run with all that is known of it; `equation` is null while the hour is open."""

    run: _Run
    owed_since: str
    started_at: str | None
    delay_seconds: float | None
    tries: tuple[_Try, ...]
    files: tuple[_File, ...]
    equation: Equation | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("runs")(_runs)


def _runs(
    hour: Annotated[
        str | None, typer.Argument(metavar="[HOUR]", help="All of one hour: 2026-01-02T15.")
    ] = None,
    destination: Annotated[
        int | None, typer.Option(metavar="ID", help="Only those to this destination.")
    ] = None,
    status: StatusOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    include: Annotated[
        str | None, typer.Option(metavar="TYPE", help="events or merged-ids; otherwise both.")
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="hour or completed; the newest is first.")
    ] = "hour",
    manual: Annotated[bool, typer.Option("--manual", help="List manual exports instead.")] = False,
    backfill: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="The runs of a manual export.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=999, help="At most so many.")] = 100,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Show the exports, newest first: of each hour its status and when it was completed."""
    from tailrace.app.runs import RunsAsked, hour_detail, list_runs

    of_runs = (backfill, include, sort != "hour")
    if manual:
        if hour is not None or any(of_runs):
            raise BadRequest("--manual goes with --destination, --status, --from and --to only.")
        list_manual_exports(data, destination, status, first, last, json)
        return
    with _open(data) as (engine, clock):
        if hour is not None:
            if any((status, first, last, *of_runs)):
                raise BadRequest("An HOUR goes with --destination only.")
            _print_hour(hour_detail(engine, clock, Hour.parse(hour), destination), json)
            return
        asked = RunsAsked(
            destination_id=destination,
            states=tuple(status or ()),
            first=first,
            last=last,
            manual_export=backfill or 0,
            data_type=include,
            sort=sort,
            limit=limit,
        )
        _print_runs(list_runs(engine, clock, asked), json)


@contextmanager
def _open(data: Path) -> Iterator[tuple[Engine, Clock]]:
    from tailrace.state.database import open_database

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        yield engine, clock
    finally:
        engine.dispose()


def _print_runs(found: RunList, json: bool) -> None:
    runs = [_run(one) for one in found.runs]
    if json:
        print_json(runs)
        return
    if not runs:
        print_lines(["There are no such runs."])
        return
    print_table(
        (
            "status",
            "date exported (UTC)",
            "completed at (UTC)",
            "destination",
            "data",
            "files",
            "attempts",
        ),
        [
            (
                run.status,
                _label(run),
                run.completed_at or "-",
                run.destination_id,
                run.data_type,
                f"{run.files_delivered} of {run.files}",
                run.attempts,
            )
            for run in runs
        ],
    )
    _print_causes(runs)
    more = "; there are more: narrow it with --from and --to, or raise --limit"
    print_lines([f"Showing {counted(len(runs), 'row')}{more if found.more else ''}"])


def _print_causes(runs: Sequence[_Run]) -> None:
    """Print why runs are in trouble, each reason once: in an outage all have the same."""
    first: dict[str, _Run] = {}
    for run in runs:
        if run.cause is not None and run.status in _TROUBLED:
            first.setdefault(run.cause.sentence, run)
    for run in list(first.values())[:CAUSES_MAX]:
        if run.cause is not None:
            print_lines(
                [
                    f"{run.status} {run.data_type} of {run.hour} to destination "
                    f"{run.destination_id}: {run.cause.sentence} {run.cause.fix}"
                ]
            )
    if len(first) > CAUSES_MAX:
        print_lines(["Others have other causes: `tailrace runs HOUR` shows those of an hour."])


def _print_hour(found: HourDetail, json: bool) -> None:
    details = [_detail(one) for one in found.runs]
    if json:
        print_json(details)
        return
    if not details:
        why = (
            "no destination owes it. `tailrace backfill` exports past hours."
            if found.over
            else "it is not sealed yet."
        )
        print_lines([f"There is no run of {found.hour}: {why}"])
    for detail in details:
        run = detail.run
        by_hand = f", manual export {run.manual_export}" if run.manual_export else ""
        print_lines(
            [
                f"{run.data_type} of {_label(run)} to destination {run.destination_id}{by_hand}",
                f"  status       {run.status}",
                f"  owed since   {detail.owed_since}",
                f"  completed    {run.completed_at or '-'}{_delay(detail)}",
                f"  equation     {_equation(detail.equation)}",
            ]
        )
        for file in detail.files:
            where = f"{file.how} {file.delivered_at} {file.key}" if file.key else "not delivered"
            print_lines([f"  file         {file.name}: {file.lines} lines, {file.bytes} bytes"])
            print_lines([f"               {where}"])
        for one in detail.tries:
            print_lines(
                [
                    f"  try          {one.began_at} to {one.ended_at or 'unknown'}{_seconds(one)}: "
                    f"{one.outcome}"
                ]
            )
            if one.cause is not None:
                print_lines([f"               {one.cause.sentence} {one.cause.fix}"])


def _delay(detail: _Detail) -> str:
    if detail.delay_seconds is None:
        return ""
    return f", {detail.delay_seconds} s after the end of the hour"


def _seconds(one: _Try) -> str:
    return "" if one.seconds is None else f", {one.seconds} s"


def _equation(found: Equation | None) -> str:
    if found is None:
        return "the hour is open"
    return (
        f"{found.accepted} accepted = {found.exported} exported + {found.duplicates} "
        f"duplicates + {found.identifies} identifies + {found.filtered} filtered + "
        f"{found.held} held"
    )


def _label(run: _Run) -> str:
    return hour_label(Hour.parse(run.hour)).removesuffix(" UTC")


def _run(run: Run) -> _Run:
    return _Run(
        status=run.state,
        hour=str(run.hour),
        completed_at=optional_time_text(run.finished_micros),
        destination_id=run.destination_id,
        data_type=run.data_type,
        manual_export=run.manual_export or None,
        files=run.files,
        files_delivered=run.files_delivered,
        attempts=run.attempts,
        cause=run.cause,
    )


def _detail(found: RunDetail) -> _Detail:
    run = found.run
    return _Detail(
        run=_run(run),
        owed_since=time_text(run.created_micros),
        started_at=optional_time_text(run.started_micros),
        delay_seconds=found.delay_seconds,
        tries=tuple(
            _Try(
                began_at=time_text(one.began_micros),
                ended_at=optional_time_text(one.ended_micros),
                seconds=None
                if one.ended_micros is None
                else round((one.ended_micros - one.began_micros) / MICROS, 2),
                outcome=one.outcome,
                cause=one.cause,
            )
            for one in run.tries
        ),
        files=tuple(
            _File(
                name=file.name,
                lines=file.lines,
                bytes=file.size_bytes,
                sha256=file.sha256,
                key=file.delivered.key if file.delivered else None,
                how=file.delivered.how if file.delivered else None,
                delivered_at=optional_time_text(file.delivered.delivered_micros)
                if file.delivered
                else None,
            )
            for file in found.files
        ),
        equation=found.equation,
    )
