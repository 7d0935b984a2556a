"""How manual exports, their plans and ranges without data are shown, to people and to scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tailrace.cli.output import print_json, print_lines, print_table
from tailrace.cli.times import hour_text, time_text
from tailrace.notify.amounts import counted, run_word

if TYPE_CHECKING:
    from tailrace.app.backfill import Planned, Shown, Started
    from tailrace.app.no_data import NoData
    from tailrace.export.tally import Amount
    from tailrace.state.delivery import Cause


class _Shown(msgspec.Struct, frozen=True):
    """A manual export as scripts read it; `to` is the last hour that was asked for.

    `hours` counts its runs: an hour of events and the same hour of merged IDs are two.
    """

    manual_export: int
    status: str
    state: str
    destination_id: int
    data_types: tuple[str, ...]
    from_: str = msgspec.field(name="from")
    to: str
    overwrite: bool
    hours: int
    runs: dict[str, int]
    runs_per_minute: float | None
    minutes_left: float | None
    outage: Cause | None
    created_by: str
    created_at: str
    completed_at: str | None


class _Amount(msgspec.Struct, frozen=True):
    objects: int
    bytes: int


class _Plan(msgspec.Struct, frozen=True):
    """A plan as scripts read it."""

    destination_id: int
    data_types: tuple[str, ...]
    from_: str = msgspec.field(name="from")
    to: str
    overwrite: bool
    first_dates: dict[str, str | None]
    hours: dict[str, int]
    lines: dict[str, int]
    bytes: int
    already_there: _Amount
    to_write: _Amount
    conflicts: _Amount
    conflict_keys: tuple[str, ...]
    unknown: int
    unknown_keys: tuple[str, ...]
    dropped_hours: int
    dropped: tuple[str, ...]
    not_sealed_from: str | None
    no_data: NoData | None


class _Started(msgspec.Struct, frozen=True):
    manual_export: _Shown
    not_sealed_from: str | None
    no_data: NoData | None


def print_manual_exports(found: Sequence[Shown], json: bool) -> None:
    """Print the list of manual exports, with the documented columns first (R48)."""
    shown = [_shown(one) for one in found]
    if json:
        print_json(shown)
        return
    if not shown:
        print_lines(["There are no such manual exports. `tailrace backfill` starts one."])
        return
    print_table(
        (
            "status",
            "data start date (UTC)",
            "data end date (UTC)",
            "completed at (UTC)",
            "overwrite files",
            "number",
            "destination",
            "data",
            "runs",
            "runs a minute",
            "minutes left",
        ),
        [
            (
                one.status,
                one.from_,
                one.to,
                one.completed_at or "-",
                "yes" if one.overwrite else "no",
                one.manual_export,
                one.destination_id,
                ",".join(one.data_types),
                _progress(one, str(one.hours)),
                one.runs_per_minute or "-",
                "-" if one.minutes_left is None else one.minutes_left,
            )
            for one in shown
        ],
    )
    outages = {one.destination_id: one for one in shown if one.state == "running"}
    for one in outages.values():
        _print_outage(one)
    print_lines([f"Showing {counted(len(shown), 'row')}"])


def _progress(one: _Shown, total: str) -> str:
    others = [f"{count} {state}" for state, count in one.runs.items() if state != "success"]
    return ", ".join([f"{one.runs.get('success', 0)} of {total}", *others])


def print_manual_export(found: Shown, json: bool) -> None:
    """Print what has become of one."""
    shown = _shown(found)
    if json:
        print_json(shown)
        return
    progress = _progress(shown, counted(shown.hours, run_word(shown.data_types)))
    print_lines([f"Manual export {shown.manual_export} is {shown.status}: {progress}."])
    if shown.state == "running":
        _print_outage(shown)


def print_started(started: Started, json: bool) -> None:
    """Print what was just started."""
    shown = _shown(started.shown)
    open_from = hour_text(started.not_sealed_from)
    if json:
        print_json(_Started(shown, open_from, started.no_data))
        return
    number, state = shown.manual_export, shown.status
    print_lines(
        [
            f"Manual export {number} is {state}: "
            f"{counted(shown.hours, run_word(shown.data_types))} "
            f"{'is' if shown.hours == 1 else 'are'} exported."
        ]
    )
    _print_not_sealed(open_from)
    _print_no_data(started.no_data)
    if shown.state == "running":
        _print_outage(shown)
    if state == "running":
        print_lines(["How far it is: tailrace backfill list"])


def _print_outage(shown: _Shown) -> None:
    if shown.outage is not None:
        print_lines(
            [
                f"Nothing goes to destination {shown.destination_id} until access is back: "
                f"{shown.outage.sentence} {shown.outage.fix}"
            ]
        )


def print_planned(planned: Planned, json: bool) -> None:
    """Print what a manual export would do."""
    shown = _plan_shown(planned)
    if json:
        print_json(shown)
        return
    found = ", ".join(
        f"{counted(hours, 'hour')} with {shown.lines[name]} {_words(name)}"
        for name, hours in shown.hours.items()
    )
    print_lines(
        [
            f"{shown.from_} to {shown.to}: {found}, {shown.bytes} bytes",
            *(
                f"The first {_words(name)} are of {date}."
                for name, date in shown.first_dates.items()
                if date is not None
            ),
            f"already there  {_amount(shown.already_there)}",
            f"to write       {_amount(shown.to_write)}",
            f"conflicts      {_amount(shown.conflicts)}{_fate_of_conflicts(shown)}",
            *(f"  {key}" for key in shown.conflict_keys),
        ]
    )
    if shown.unknown:
        left = "which is left as it is" if shown.unknown == 1 else "which are left as they are"
        print_lines([f"unknown        {counted(shown.unknown, 'object')}, {left}"])
        print_lines(f"  {key}" for key in shown.unknown_keys)
    if shown.dropped_hours:
        print_lines(
            [
                f"not to be had  {counted(shown.dropped_hours, 'hour')}: the archive has "
                "dropped their files, and the bucket does not hold them",
                *(f"  {hour}" for hour in shown.dropped),
            ]
        )
    _print_not_sealed(shown.not_sealed_from)
    _print_no_data(planned.no_data)


def _fate_of_conflicts(shown: _Plan) -> str:
    if not shown.conflicts.objects:
        return ""
    if shown.overwrite:
        return ", to be replaced"
    left = "left as it is" if shown.conflicts.objects == 1 else "left as they are"
    return f", {left} without --overwrite"


def _print_not_sealed(hour: str | None) -> None:
    if hour is not None:
        print_lines([f"Hours from {hour} on are not sealed yet and are left out."])


def _print_no_data(found: NoData | None) -> None:
    if found is None:
        return
    print_lines(["There are no data in this range."])
    for name, dates in found.dates.items():
        if not dates:
            print_lines([f"There are no {_words(name)} of any date."])
        for one in dates:
            print_lines([f"{one.first} to {one.last} have {one.lines} {_words(name)}."])
    print_lines(
        [
            "If there should be data, give this text to whoever supports you:",
            "--- copy from here ---",
            found.support_text,
            "--- to here ---",
        ]
    )


def _words(data_type: str) -> str:
    return "merged IDs" if data_type == "merged-ids" else data_type


def _amount(amount: _Amount) -> str:
    return f"{counted(amount.objects, 'object')}, {amount.bytes} bytes"


def _amount_shown(amount: Amount) -> _Amount:
    return _Amount(amount.objects, amount.bytes)


def _plan_shown(planned: Planned) -> _Plan:
    plan = planned.plan
    return _Plan(
        destination_id=plan.destination_id,
        data_types=plan.data_types,
        from_=str(plan.from_hour),
        to=str(plan.until_hour.previous()),
        overwrite=plan.overwrite,
        first_dates={str(name): date for name, date in planned.first_dates.items()},
        hours={str(name): count for name, count in plan.hours.items()},
        lines={str(name): count for name, count in plan.lines.items()},
        bytes=plan.bytes,
        already_there=_amount_shown(plan.already_there),
        to_write=_amount_shown(plan.to_write),
        conflicts=_amount_shown(plan.conflicts),
        conflict_keys=plan.conflict_keys,
        unknown=plan.unknown,
        unknown_keys=plan.unknown_keys,
        dropped_hours=plan.dropped_hours,
        dropped=tuple(str(hour) for hour in plan.dropped),
        not_sealed_from=hour_text(plan.not_sealed_from),
        no_data=planned.no_data,
    )


def _shown(found: Shown) -> _Shown:
    export, progress = found.export, found.progress
    return _Shown(
        manual_export=export.id,
        status=found.status,
        state=export.state,
        destination_id=export.destination_id,
        data_types=export.data_types,
        from_=str(export.from_hour),
        to=str(export.until_hour.previous()),
        overwrite=export.overwrite,
        hours=progress.total,
        runs={str(state): count for state, count in progress.runs.items()},
        runs_per_minute=progress.runs_per_minute,
        minutes_left=found.minutes_left,
        outage=found.outage,
        created_by=export.created_by,
        created_at=time_text(export.created_micros),
        completed_at=None if export.finished_micros is None else time_text(export.finished_micros),
    )
