"""View values of the bars of the last hours: events by hour, and how late each hour was out.

Sizes are SVG attributes: a page has no styles of its own. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.hours import Hour
from tailrace.state.delivery import Destination
from tailrace.state.hours_read import KnownHourOf
from tailrace.web.heatmap import (
    CellState,
    counted_lines,
    delay_seconds,
    state_of,
    took,
    when,
    words_of,
)

HOURS = 48
# In units of the drawing: a bar with its gap, and the heights of both rows of bars.
STEP, WIDTH = 20, 14
HEIGHT = 120
DELAY_HEIGHT = 40
PROMISED_SECONDS = 3600.0
LEAST = 2


class Bar(msgspec.Struct, frozen=True):
    """One bar; `kind` is its class, `text` what is said of it."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    text: str


class Tick(msgspec.Struct, frozen=True):
    """A label below the bars."""

    x: int
    text: str


class Bars(msgspec.Struct, frozen=True):
    """Both rows of bars, their labels and what they say in words."""

    width: int
    height: int
    delay_height: int
    events: tuple[Bar, ...]
    delays: tuple[Bar, ...]
    promised_y: int
    ticks: tuple[Tick, ...]
    most: str
    longest: str
    summary: str


def bars(destination: Destination, known: Sequence[KnownHourOf], now_micros: int) -> Bars:
    """Draw the newest hours of those that are known, oldest first, the open one left out."""
    now = Hour.of_micros(now_micros)
    shown = [one for one in known if one.hour < now][-HOURS:]
    words = words_of(destination)
    most = max((one.lines for one in shown), default=0)
    delays = [delay_seconds(one) for one in shown]
    longest = max((delay for delay in delays if delay is not None), default=0.0)
    # Up to the promise the line of an hour is the scale; beyond it, the longest delay.
    full = max(PROMISED_SECONDS * 1.1, longest)
    promised_y = DELAY_HEIGHT - round(PROMISED_SECONDS / full * DELAY_HEIGHT)
    total = sum(one.lines for one in shown)
    return Bars(
        width=max(len(shown), 1) * STEP,
        height=HEIGHT,
        delay_height=DELAY_HEIGHT,
        events=tuple(
            _bar(number, one.lines, most, HEIGHT, _kind(state_of(destination, one, now)),
                 f"{when(one.hour)}: {counted_lines(one.lines, words)}")
            for number, one in enumerate(shown)
        ),
        delays=tuple(
            _bar(number, delay, full, DELAY_HEIGHT, "late" if delay > PROMISED_SECONDS else "delay",
                 f"{when(one.hour)}: out {took(delay)} after it closed")
            for number, (one, delay) in enumerate(zip(shown, delays, strict=True))
            if delay is not None
        ),
        promised_y=promised_y,
        ticks=tuple(
            Tick(number * STEP, f"{one.hour.of_day:02d}:00")
            for number, one in enumerate(shown)
            if one.hour.of_day % 6 == 0
        ),
        most=f"{most:,}",
        longest=took(longest),
        summary=f"{counted_lines(total, words)} in {len(shown)} hours; the longest delay was "
        f"{took(longest)}",
    )  # fmt: skip


def _bar(number: int, value: float, full: float, height: int, kind: str, text: str) -> Bar:
    tall = 0 if not value else max(LEAST, round(value / full * height))
    return Bar(number * STEP, height - tall, WIDTH, tall, kind, text)


def _kind(state: CellState) -> str:
    if state in ("failed", "conflict"):
        return "failed"
    if state in ("waiting", "exporting", "retrying", "paused"):
        return "kept"
    return "out"
