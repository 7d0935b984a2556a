"""View values of a destination's overview: its notice, its tiles and the rows of its last hours.

Pure: made of what was read in `overview`, and tested without a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles

import msgspec

from tailrace.clock import MICROS, to_datetime
from tailrace.hours import Hour
from tailrace.notify.amounts import counted, duration, moment, size
from tailrace.notify.room import Room
from tailrace.state.delivery import AUTOMATIC, Destination
from tailrace.state.hours_read import KnownHourOf
from tailrace.web.automatic_values import trigger_word
from tailrace.web.bars import Bars
from tailrace.web.health import Health, Owed, Tone
from tailrace.web.heatmap import (
    CellState,
    Collected,
    GridDay,
    began,
    counted_lines,
    delay_seconds,
    state_of,
    took,
    words_of,
)

DAY_HOURS = 24
NEWEST_ROWS = 7
# A destination that was down for a week has more hours in trouble than a table shows well.
TROUBLED_ROWS = 24
# Below so many delays the longest of all says more than a share of them.
DELAYS_MIN = 20

_STATES: dict[CellState, tuple[str, Tone]] = {
    "exported": ("Exported", "ok"),
    "none": ("No events", "quiet"),
    "exporting": ("Exporting", "busy"),
    "waiting": ("Waiting", "quiet"),
    "retrying": ("Retrying", "warn"),
    "failed": ("Failed", "bad"),
    "conflict": ("Conflict", "bad"),
    "paused": ("Paused", "quiet"),
    "after": ("Not exported", "quiet"),
}


class Tile(msgspec.Struct, frozen=True):
    """One number of the overview; `until` is a moment that the browser counts down to."""

    label: str
    value: str
    note: str
    tone: str = ""
    until: str = ""


class Notice(msgspec.Struct, frozen=True):
    """What needs a person, or what they should know first.

    A failure has a page of its own; with a set-up that is unfinished somebody goes on.
    """

    title: str
    kind: str
    lines: tuple[str, ...]
    is_failure: bool = False
    is_unfinished: bool = False


class HourRow(msgspec.Struct, frozen=True):
    """One hour of the table of runs, in words."""

    hour: str
    href: str
    state: str
    tone: Tone
    trigger: str
    lines: str
    files: str
    size: str
    delay: str
    attempts: str


class Overview(msgspec.Struct, frozen=True):
    """Everything that changes while the page is open; `since` names this state of it."""

    health: Health
    notice: Notice | None
    tiles: tuple[Tile, ...]
    days: tuple[GridDay, ...]
    bars: Bars | None
    rows: tuple[HourRow, ...]
    since: str = ""


def notice(
    destination: Destination, health: Health, owed: Owed, collected: int, now_micros: int
) -> Notice | None:
    """Return what stands above everything, None where nothing needs to."""
    words = words_of(destination)
    safe = (
        f"{counted_lines(owed.lines, words)} of {counted(owed.hours, 'hour')} are safe on this "
        "machine and go out as soon as they can."
    )
    cause = destination.outage_cause
    if destination.state == "setting_up":
        return Notice(
            "The set-up is not finished",
            "warn",
            ("Nothing is exported before its access is verified. What comes in is kept.",),
            is_unfinished=True,
        )
    if destination.outage_since_micros is not None and cause is not None:
        since = moment(destination.outage_since_micros)
        return Notice(
            f"Nothing goes out since {since}",
            "bad",
            (cause.sentence, cause.fix, safe),
            is_failure=True,
        )
    if owed.stuck:
        title = f"{counted(owed.stuck, 'hour')} can't go out without a person"
        return Notice(title, "bad", (safe,), is_failure=True)
    if owed.retrying:
        title = f"{counted(owed.retrying, 'hour')} will be tried again"
        return Notice(title, "warn", (safe,), is_failure=True)
    if destination.state == "paused":
        return Notice(
            "Automatic exports are off",
            "warn",
            (f"Paused {health.sentence}.", "New hours are kept and go out after resuming."),
        )
    if not owed.hours and destination.from_hour is not None:
        now = Hour.of_micros(now_micros)
        if destination.from_hour >= now:
            left = duration((now.end_micros - now_micros) / MICROS)
            return Notice(
                f"First export at {to_datetime(now.end_micros):%H:%M} UTC, in {left}",
                "info",
                (f"{counted_lines(collected, words)} collected so far.",),
            )
    return None


def tiles(
    destination: Destination,
    known: Sequence[KnownHourOf],
    health: Health,
    owed: Owed,
    collected: int,
    room: Room | None,
    now_micros: int,
) -> tuple[Tile, ...]:
    """Return the five numbers that a person looks for first."""
    words, now = words_of(destination), Hour.of_micros(now_micros)
    end = to_datetime(now.end_micros)
    left = counted_lines(owed.lines, words)
    return (
        Tile("State", health.word, health.sentence, _state_tone(health.tone)),
        Tile(
            "This hour closes",
            f"{end:%H:%M} UTC",
            f"{counted_lines(collected, words)} so far",
            until=f"{end:%Y-%m-%dT%H:%M:%SZ}",
        ),
        _last_day(known, now, words.many),
        _delays(known),
        Tile(
            "Waiting here",
            counted(owed.hours, "hour"),
            f"{left}{_room(room)}",
            "bad" if owed.stuck else "",
        ),
    )


def rows(
    destination: Destination, known: Sequence[KnownHourOf], now_micros: int, path: str
) -> tuple[HourRow, ...]:
    """Return the newest hours that are over, and all earlier ones in trouble, newest first."""
    now = Hour.of_micros(now_micros)
    over = [
        (one, state)
        for one in reversed(known)
        if one.hour < now and (state := state_of(destination, one, now)) in _STATES
    ]
    troubled = [
        pair for pair in over[NEWEST_ROWS:] if pair[1] in ("failed", "conflict", "retrying")
    ]
    shown = [*over[:NEWEST_ROWS], *troubled[:TROUBLED_ROWS]]
    return tuple(_row(one, state, path) for one, state in shown)


def _row(one: KnownHourOf, state: CellState, path: str) -> HourRow:
    word, tone = _STATES[state]
    delay = delay_seconds(one)
    by_hand = [run.manual_export for run in one.runs if run.manual_export != AUTOMATIC]
    automatic = any(run.manual_export == AUTOMATIC for run in one.runs)
    return HourRow(
        hour=began(one.hour),
        href=f"{path}/{one.hour}" if path else "",
        state=word,
        tone=tone,
        trigger=trigger_word(AUTOMATIC if automatic or not by_hand else by_hand[-1]),
        lines=f"{one.lines:,}",
        files=f"{one.files:,}",
        size=size(one.size_bytes) if one.size_bytes else "–",
        delay="–" if delay is None else took(delay),
        attempts=f"{max((run.attempts for run in one.runs), default=0):,}",
    )


def collected_of(collected: Sequence[Collected], hour: Hour) -> int:
    """Return what an open hour holds so far."""
    return sum(one.lines for one in collected if one.hour == hour)


def _last_day(known: Sequence[KnownHourOf], now: Hour, many: str) -> Tile:
    over = [one.lines for one in known if one.hour < now]
    day, before = sum(over[-DAY_HOURS:]), sum(over[-2 * DAY_HOURS : -DAY_HOURS])
    label = f"{many[:1].upper()}{many[1:]} in 24 h"
    if not before:
        return Tile(label, f"{day:,}", "nothing the day before to compare with")
    change = round(100 * (day - before) / before)
    more = (
        "as many as" if not change else f"{abs(change):,} % {'more' if change > 0 else 'less'} than"
    )
    return Tile(label, f"{day:,}", f"{more} the day before")


def _delays(known: Sequence[KnownHourOf]) -> Tile:
    delays = [delay for one in known if (delay := delay_seconds(one)) is not None]
    if not delays:
        return Tile("Delay after the hour", "–", "no hour is out yet")
    if len(delays) < DELAYS_MIN:
        return Tile("Delay after the hour", took(median(delays)), f"at most {took(max(delays))}")
    slow = quantiles(delays, n=20)[-1]
    return Tile("Delay after the hour", took(median(delays)), f"95 % within {took(slow)}")


def _room(room: Room | None) -> str:
    if room is None:
        return ""
    if not room.is_known:
        return "; room for how long is not known yet"
    left = room.seconds_left
    if left is None:
        return "; the disk does not fill"
    return f"; room for {duration(left)}" if left < 365 * 86400 else "; room for more than a year"


def _state_tone(tone: Tone) -> str:
    return tone if tone in ("ok", "warn", "bad") else ""
