"""View values of a manual export's plan, and of a range that has no data. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from tailrace.app.backfill import Planned
from tailrace.app.no_data import NoData
from tailrace.export.backfill import Plan
from tailrace.export.tally import Amount
from tailrace.notify.amounts import counted, size
from tailrace.state.delivery import DataType

TYPES: Mapping[DataType, str] = {"events": "event", "merged-ids": "merged ID"}
_KEYS_MAX = 10


class PlanView(msgspec.Struct, frozen=True):
    """What a manual export would do: facts in words, keys in conflict, what is left out."""

    facts: tuple[tuple[str, str], ...]
    conflicts: tuple[str, ...]
    remarks: tuple[str, ...]
    no_data: NoDataView | None


class NoDataView(msgspec.Struct, frozen=True):
    """Which dates have data, and the text for support."""

    dates: tuple[tuple[str, str], ...]
    support_text: str


def plan_view(found: Planned) -> PlanView:
    """Return a plan as a person reads it."""
    plan = found.plan
    return PlanView(
        facts=tuple(_facts(plan)),
        conflicts=plan.conflict_keys[:_KEYS_MAX],
        remarks=tuple(_remarks(plan)),
        no_data=None if found.no_data is None else no_data_view(found.no_data),
    )


def no_data_view(found: NoData) -> NoDataView:
    """Return which dates have data, in words."""
    return NoDataView(
        dates=tuple(
            (
                f"Dates with {TYPES[name]}s",
                "; ".join(_stretch(one.first, one.last, one.lines) for one in dates) or "none yet",
            )
            for name, dates in ((name, found.dates[name]) for name in TYPES if name in found.dates)
        ),
        support_text=found.support_text,
    )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "Range", f"{plan.from_hour} to {plan.until_hour.previous()} (UTC)"
    if not any(plan.hours.values()):
        return
    for name in plan.data_types:
        word = TYPES[name]
        yield (
            f"{word[:1].upper()}{word[1:]}s",
            f"{counted(plan.lines[name], word)} in {counted(plan.hours[name], 'sealed hour')}",
        )
    yield "Data files", size(plan.bytes)
    one = plan.already_there.objects == 1
    stay = "it stays as it is" if one else "they stay as they are"
    yield "Already there", f"{_objects(plan.already_there)}; {stay}"
    yield "To write", _objects(plan.to_write)
    if plan.conflicts.objects:
        yield "With other content", f"{_objects(plan.conflicts)}; {_fate_of_conflicts(plan)}"


def _fate_of_conflicts(plan: Plan) -> str:
    if plan.conflicts.objects == 1:
        return "it is replaced" if plan.overwrite else "it stays, and its hour waits for you"
    return "they are replaced" if plan.overwrite else "they stay, and their hours wait for you"


def _remarks(plan: Plan) -> Iterator[str]:
    if plan.not_sealed_from is not None:
        yield f"Hours from {plan.not_sealed_from} on are left out: they are not closed yet."
    if plan.unknown:
        yield (
            f"{counted(plan.unknown, 'object')} in the bucket {_are_named_so(plan.unknown)} not "
            f"ours: {', '.join(plan.unknown_keys[:_KEYS_MAX])}. Nothing touches "
            f"{'it' if plan.unknown == 1 else 'them'}."
        )
    if plan.dropped_hours:
        yield (
            f"{counted(plan.dropped_hours, 'hour')} can't be exported: their files were removed "
            "from this machine to make room, and the bucket does not hold them."
        )


def _are_named_so(objects: int) -> str:
    if objects == 1:
        return "has a name like these files and is"
    return "have names like these files and are"


def _objects(amount: Amount) -> str:
    return f"{counted(amount.objects, 'object')}, {size(amount.bytes)}"


def _stretch(first: str, last: str, lines: int) -> str:
    dates = first if first == last else f"{first} to {last}"
    return f"{dates} ({lines:,})"
