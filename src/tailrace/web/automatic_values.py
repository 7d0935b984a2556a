"""View values of the list of automatic exports: the documented columns first (R46). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.clock import MICROS, to_datetime
from tailrace.hours import hour_label
from tailrace.notify.amounts import size
from tailrace.state.delivery import AUTOMATIC, DataType, RunState
from tailrace.state.reports import Run
from tailrace.web.health import Tone
from tailrace.web.heatmap import took

NONE = "–"
# A column of the table, and the order that its head asks for; without one by hour.
SORTS = (("Date Exported (UTC)", ""), ("Completed At (UTC)", "completed"))
FIRST_COLUMNS = ("Status", "Date Exported (UTC)", "Completed At (UTC)")
DATA, TRIGGER = "Data", "Trigger"
NUMBERS = ("Events", "Files", "Size", "Delay", "Attempts")
# What people choose from, and the states it stands for.
STATUSES: tuple[tuple[str, str, tuple[RunState, ...]], ...] = (
    ("attention", "Needs attention", ("retrying", "failed", "conflict")),
    ("success", "Success", ("success",)),
    ("running", "Running", ("running",)),
    ("pending", "Waiting", ("pending",)),
    ("retrying", "Retrying", ("retrying",)),
    ("failed", "Failed", ("failed",)),
    ("conflict", "Conflict", ("conflict",)),
    ("cancelled", "Left out", ("cancelled",)),
)
_STATES: dict[RunState, tuple[str, Tone]] = {
    "success": ("Success", "ok"),
    "running": ("Running", "busy"),
    "pending": ("Waiting", "quiet"),
    "retrying": ("Retrying", "warn"),
    "failed": ("Failed", "bad"),
    "conflict": ("Conflict", "bad"),
    "cancelled": ("Left out", "quiet"),
}
_TYPES: dict[DataType, str] = {"events": "Events", "merged-ids": "Merged IDs"}


class AutomaticRow(msgspec.Struct, frozen=True):
    """One run of an hour. `why` is what is in its way; `completed_at` is ISO 8601, or empty.

    `trigger_href` leads to the manual export that asked for it; empty for an hourly run.
    """

    id: str
    href: str
    state: str
    tone: Tone
    why: str
    exported: str
    completed: str
    completed_at: str
    data: str
    trigger: str
    trigger_href: str
    lines: str
    files: str
    size: str
    delay: str
    attempts: str


def automatic_rows(found: Sequence[Run], path: str) -> tuple[AutomaticRow, ...]:
    """Return runs as people read them, in their order; `path` is the destination's address."""
    return tuple(_row(one, path) for one in found)


def states_of(status: str) -> tuple[RunState, ...]:
    """Return the states that a choice of the filter stands for; none for one that there is not."""
    return next((states for value, _, states in STATUSES if value == status), ())


def trigger_word(manual_export: int) -> str:
    """Return what a run was made by."""
    return "Hourly" if manual_export == AUTOMATIC else f"Manual export {manual_export}"


def _row(one: Run, path: str) -> AutomaticRow:
    word, tone = _STATES[one.state]
    done = one.finished_micros if one.state == "success" else None
    by_hand = one.manual_export != AUTOMATIC
    troubled = one.cause if one.state in ("retrying", "failed", "conflict") else None
    return AutomaticRow(
        id=f"{one.data_type}-{one.hour}" + (f"-{one.manual_export}" if by_hand else ""),
        href=f"{path}/hours/{one.hour}",
        state=word,
        tone=tone,
        why="" if troubled is None else troubled.title or troubled.sentence,
        exported=hour_label(one.hour).removesuffix(" UTC"),
        completed=NONE if done is None else f"{to_datetime(done):%Y-%m-%d %H:%M}",
        completed_at="" if done is None else f"{to_datetime(done):%Y-%m-%dT%H:%M:%SZ}",
        data=_TYPES[one.data_type],
        trigger=trigger_word(one.manual_export),
        trigger_href=f"{path}/manual-exports#export-{one.manual_export}" if by_hand else "",
        lines=f"{one.lines:,}",
        files=f"{one.files:,}",
        size=size(one.size_bytes) if one.size_bytes else NONE,
        # An hour that is asked for later is not late.
        delay=NONE if done is None or by_hand else took((done - one.hour.end_micros) / MICROS),
        attempts=f"{one.attempts:,}",
    )
