"""View values of the grid of hours: a cell for each, with its state, its heat and its sentence.

Pure: made of what the ledger knows and of two clocks, and tested without a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tailrace.clock import MICROS, to_datetime
from tailrace.hours import Hour
from tailrace.notify.amounts import counted
from tailrace.state.delivery import AUTOMATIC, Destination, RunState
from tailrace.state.hours_read import KnownHourOf, RunOfHour

CellState = Literal[
    "exported",
    "none",
    "collecting",
    "exporting",
    "waiting",
    "retrying",
    "failed",
    "conflict",
    "paused",
    "before",
    "after",
    "later",
]

# What is said where no digit or colour can be: the glyph of a cell.
GLYPHS: dict[CellState, str] = {
    "none": "·",
    "retrying": "↻",
    "failed": "!",
    "conflict": "!",
}
LEVELS = 4
# Of several runs the one that wants most attention gives the hour its state.
_WORST: tuple[RunState, ...] = ("failed", "conflict", "retrying", "running", "pending")


class Words(msgspec.Struct, frozen=True):
    """What a destination's lines are called."""

    one: str
    many: str


EVENTS = Words("event", "events")
MERGED_IDS = Words("merged ID", "merged IDs")


class HourCell(msgspec.Struct, frozen=True):
    """One hour of the grid. `level` is its heat, 0 without any; `text` says all of it."""

    id: str
    href: str
    state: CellState
    level: int
    text: str
    glyph: str
    by_hand: bool


class GridDay(msgspec.Struct, frozen=True):
    """One UTC day: its cells from 00 to 23, and how many lines they hold."""

    label: str
    total: str
    cells: tuple[HourCell, ...]


class Collected(msgspec.Struct, frozen=True):
    """What an hour that is open holds so far."""

    hour: Hour
    lines: int


def words_of(destination: Destination) -> Words:
    """Return what the lines of a destination's first data type are called."""
    return EVENTS if destination.include_events else MERGED_IDS


def grid(
    destination: Destination,
    known: Sequence[KnownHourOf],
    collected: Sequence[Collected],
    *,
    now_micros: int,
    machine_micros: int,
    path: str,
) -> tuple[GridDay, ...]:
    """Return the days of the hours that are known, the newest first.

    `known` begins with the first hour of a day and ends with the last of today, `path` is the
    address below which each hour has its page, empty where there is none.
    """
    heat = _heat([one.lines for one in known])
    now = Hour.of_micros(now_micros)
    open_lines = {one.hour: one.lines for one in collected}
    days: dict[str, list[HourCell]] = {}
    totals: dict[str, int] = {}
    for one in known:
        state = state_of(destination, one, now)
        said = sentence(
            destination, one, state, open_lines.get(one.hour, 0), now_micros, machine_micros
        )
        cell = HourCell(
            id=f"h{one.hour}",
            href=f"{path}/{one.hour}" if path and state not in ("before", "later") else "",
            state=state,
            level=heat(one.lines) if state == "exported" else 0,
            text=f"{when(one.hour)}: {said}",
            glyph=GLYPHS.get(state, ""),
            by_hand=state == "exported" and _by_hand(one) is not None,
        )
        days.setdefault(one.hour.date, []).append(cell)
        totals[one.hour.date] = totals.get(one.hour.date, 0) + one.lines
    return tuple(
        GridDay(_day(date), _total(totals[date], cells), tuple(cells))
        for date, cells in reversed(days.items())
    )


def state_of(destination: Destination, one: KnownHourOf, now: Hour) -> CellState:
    """Return how an hour stands at a destination; of its data types the one in most trouble."""
    if one.hour > now:
        return "later"
    owed = {run.state for run in one.runs if run.manual_export == AUTOMATIC}
    worst = next((state for state in _WORST if state in owed), None)
    if worst == "failed":
        return "failed"
    if worst == "conflict":
        return "conflict"
    if one.hour == now or (not one.sealed and _covers(destination, one.hour)):
        return "collecting"
    if worst is None:
        if not any(run.state == "success" for run in one.runs):
            return "before" if _is_before(destination, one.hour) else "after"
        return "exported" if one.lines or one.files else "none"
    if destination.state == "paused":
        return "paused"
    if worst == "retrying":
        return "retrying"
    return "exporting" if worst == "running" else "waiting"


def sentence(
    destination: Destination,
    one: KnownHourOf,
    state: CellState,
    collected: int,
    now_micros: int,
    machine_micros: int,
) -> str:
    """Return what is said of an hour, without its name."""
    words = words_of(destination)
    lines = counted_lines(one.lines, words)
    owed = [run for run in one.runs if run.manual_export == AUTOMATIC]
    tries = max((run.attempts for run in owed), default=0)
    match state:
        case "exported":
            by_hand = _by_hand(one)
            how = f"exported, {lines}, {counted(one.files, 'file')}"
            if by_hand is not None:
                return f"{how}, by manual export {by_hand}"
            return f"{how}, {_after_close(one, owed)}"
        case "none":
            return f"no {words.many}, nothing to export"
        case "collecting":
            return f"collecting, {counted_lines(collected, words)} so far"
        case "exporting":
            return f"exporting now, {lines}"
        case "waiting":
            return f"sealed, waiting for its turn, {lines}"
        case "retrying":
            due = min((run.due_micros for run in owed if run.due_micros), default=machine_micros)
            # The schedule is the machine's; people read the service's time.
            at = to_datetime(now_micros + max(0, due - machine_micros))
            return f"retrying, attempt {tries + 1} at {at:%H:%M}, {lines} waiting"
        case "failed":
            return f"failed after {counted(tries, 'attempt')}, {lines} waiting"
        case "conflict":
            return f"other content lies at its place, {lines} waiting"
        case "paused":
            return f"paused, {lines} kept"
        case "before":
            return "before this destination existed"
        case "after":
            return "not exported to this destination"
        case "later":
            return "not started"


def when(hour: Hour) -> str:
    """Return an hour in words: `Fri 20 Nov, 09:00 to 10:00 UTC`."""
    end = datetime.fromtimestamp(hour.end_micros / MICROS, UTC)
    return f"{began(hour)} to {end:%H:%M} UTC"


def began(hour: Hour) -> str:
    """Return when an hour began, for tables: `Fri 20 Nov, 09:00`."""
    begin = datetime.fromtimestamp(hour.start_micros / MICROS, UTC)
    return f"{begin:%a} {begin.day} {begin:%b}, {begin:%H:%M}"


def counted_lines(number: int, words: Words) -> str:
    """Return how many lines, in the destination's words: `58,302 events`."""
    return f"{number:,} {words.one if number == 1 else words.many}"


def took(seconds: float) -> str:
    """Return how long something took, to the second where that is short: `2m 26s`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def delay_seconds(one: KnownHourOf) -> float | None:
    """Return how long after its end an hour was out, by automatic runs; None if it is not."""
    owed = [run for run in one.runs if run.manual_export == AUTOMATIC]
    ends = [run.finished_micros for run in owed if run.state == "success"]
    if not owed or len(ends) < len(owed) or None in ends:
        return None
    return max(0.0, (max(end for end in ends if end) - one.hour.end_micros) / MICROS)


def _after_close(one: KnownHourOf, owed: Sequence[RunOfHour]) -> str:
    delay = delay_seconds(one)
    return "out" if delay is None or not owed else f"{took(delay)} after the hour closed"


def _by_hand(one: KnownHourOf) -> int | None:
    """Return the manual export that brought an hour which no automatic run did."""
    if any(run.manual_export == AUTOMATIC and run.state == "success" for run in one.runs):
        return None
    done = [run.manual_export for run in one.runs if run.state == "success"]
    return done[-1] if done else None


def _covers(destination: Destination, hour: Hour) -> bool:
    if destination.from_hour is None or hour < destination.from_hour:
        return False
    return destination.until_hour is None or hour < destination.until_hour


def _is_before(destination: Destination, hour: Hour) -> bool:
    return destination.from_hour is None or hour < destination.from_hour


def _total(lines: int, cells: Sequence[HourCell]) -> str:
    was_there = any(cell.state not in ("before", "later") for cell in cells)
    return f"{lines:,}" if was_there else ""


def _day(date: str) -> str:
    day = datetime.fromisoformat(date)
    return f"{day:%a} {day.day} {day:%b}"


class _Heat:
    """The level of a number among all that are shown: the busiest twentieth is the hottest."""

    def __init__(self, numbers: Sequence[int]) -> None:
        there = sorted(number for number in numbers if number)
        self._top = there[int(len(there) * 0.95)] if there else 1

    def __call__(self, number: int) -> int:
        if not number:
            return 0
        return min(LEVELS, 1 + number * LEVELS // (self._top + 1))


def _heat(numbers: Sequence[int]) -> _Heat:
    return _Heat(numbers)
