"""View values of the list of manual exports. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.app.backfill import Shown, Status
from tailrace.clock import to_datetime
from tailrace.notify.amounts import counted, duration, run_word
from tailrace.state.delivery import ManualExport
from tailrace.web.health import Tone

_STATES: dict[Status, tuple[str, Tone]] = {
    "running": ("Running", "busy"),
    "paused": ("Paused", "quiet"),
    "cancelled": ("Cancelled", "quiet"),
    "success": ("Success", "ok"),
    "failed": ("Failed", "bad"),
    "conflict": ("Conflict", "bad"),
}
# What a person may do with one, by how it stands.
_ACTIONS: dict[Status, tuple[tuple[str, str], ...]] = {
    "running": (("pause", "Pause"), ("cancel", "Cancel")),
    "paused": (("resume", "Resume"), ("cancel", "Cancel")),
    "failed": (("resume", "Try again"), ("cancel", "Cancel")),
    "conflict": (("resume", "Try again"), ("cancel", "Cancel")),
}


class ManualRow(msgspec.Struct, frozen=True):
    """One manual export, with the documented columns first (R48)."""

    id: int
    state: str
    tone: Tone
    first: str
    last: str
    completed: str
    overwrite: str
    done: int
    total: int
    progress: str
    pace: str
    started_by: str
    actions: tuple[tuple[str, str], ...]


def manual_rows(found: Sequence[Shown], *, may_change: bool) -> tuple[ManualRow, ...]:
    """Return manual exports as people read them, in their order."""
    actions = _ACTIONS if may_change else {}
    return tuple(_row(one, actions.get(one.status, ())) for one in found)


def _row(one: Shown, actions: tuple[tuple[str, str], ...]) -> ManualRow:
    export, progress = one.export, one.progress
    word, tone = _STATES[one.status]
    done, total = progress.runs.get("success", 0), progress.total
    return ManualRow(
        id=export.id,
        state=word,
        tone=tone,
        first=f"{export.from_hour}",
        last=f"{export.until_hour.previous()}",
        completed=_completed(export),
        overwrite="yes" if export.overwrite else "no",
        done=done,
        total=total,
        progress=_progress(one, done, total),
        pace=_pace(one),
        started_by=export.created_by,
        actions=actions,
    )


def _completed(export: ManualExport) -> str:
    if export.finished_micros is None:
        return "–"
    return f"{to_datetime(export.finished_micros):%Y-%m-%d %H:%M}"


def _progress(one: Shown, done: int, total: int) -> str:
    if not total:
        return "nothing to export"
    others = [
        f"{count:,} {state}"
        for state, count in one.progress.runs.items()
        if state in ("failed", "conflict", "retrying", "cancelled")
    ]
    counts = counted(total, run_word(one.export.data_types))
    return ", ".join([f"{done:,} of {counts}", *others])


def _pace(one: Shown) -> str:
    if one.outage is not None and one.status == "running":
        return "waits until access is back"
    if one.status != "running" or one.progress.runs_per_minute is None:
        return ""
    left = one.minutes_left
    rest = "" if left is None else f", {duration(left * 60)} left"
    pace = counted(round(one.progress.runs_per_minute), run_word(one.export.data_types))
    return f"{pace} a minute{rest}"
