"""View values of the list of destinations: those that need somebody come first. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.hours import Hour
from tailrace.state.delivery import Destination
from tailrace.state.hours_read import KnownHourOf
from tailrace.web.destination_frame import path_of
from tailrace.web.health import NEED, Health
from tailrace.web.heatmap import CellState, began, delay_seconds, state_of, took

STRIP_HOURS = 48
DAY_HOURS = 24


class DestinationRow(msgspec.Struct, frozen=True):
    """One destination of the list; `strip` are the states of its last 48 hours, oldest first."""

    href: str
    title: str
    place: str
    health: Health
    strip: tuple[CellState, ...]
    strip_text: str
    last_hour: str
    delay: str
    lines: str


def destination_row(
    destination: Destination, known: Sequence[KnownHourOf], doing: Health, now_micros: int
) -> DestinationRow:
    """Return a destination's row. `known` are its last hours, oldest first, with the open one."""
    now = Hour.of_micros(now_micros)
    strip = [state_of(destination, one, now) for one in known[-STRIP_HOURS:]]
    out = [(one, delay) for one in known if (delay := delay_seconds(one)) is not None]
    troubled = sum(state in ("failed", "conflict", "retrying") for state in strip)
    over = [one.lines for one in known if one.hour < now]
    return DestinationRow(
        href=path_of(destination),
        title=destination.name,
        place=f"s3://{destination.bucket}/{destination.prefix}",
        health=doing,
        strip=tuple(strip),
        strip_text=f"{strip.count('exported')} of the last {len(strip)} hours are exported, "
        f"{troubled} in trouble",
        last_hour=began(out[-1][0].hour) if out else "none yet",
        delay=took(out[-1][1]) if out else "–",
        lines=f"{sum(over[-DAY_HOURS:]):,}",
    )


def by_need(rows: Sequence[DestinationRow]) -> list[DestinationRow]:
    """Return rows with those first that need a person; then by their name."""
    return sorted(rows, key=lambda one: (NEED.index(one.health.word), one.title.casefold()))
