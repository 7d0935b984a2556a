"""View values of one hour of a destination: its files, its tries, how its events add up. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tailrace.app.runs import Equation, FileOfRun, HourDetail, RunDetail
from tailrace.clock import MICROS, to_datetime
from tailrace.hours import Hour
from tailrace.notify.amounts import counted, size
from tailrace.state.delivery import (
    AUTOMATIC,
    DataType,
    Destination,
    DestinationState,
    RunState,
    Try,
    TryOutcome,
)
from tailrace.web.health import Tone
from tailrace.web.heatmap import took

_TYPES = {"events": "Events", "merged-ids": "Merged IDs"}
_STATES: dict[RunState, tuple[str, Tone]] = {
    "success": ("Exported", "ok"),
    "running": ("Exporting", "busy"),
    "pending": ("Waiting", "quiet"),
    "retrying": ("Retrying", "warn"),
    "failed": ("Failed", "bad"),
    "conflict": ("Conflict", "bad"),
    "cancelled": ("Cancelled", "quiet"),
}
_OUTCOMES: dict[TryOutcome, str] = {
    "success": "exported",
    "retrying": "refused, tried again later",
    "failed": "failed",
    "conflict": "met other content",
    "lost": "its process ended",
    "let go": "let go for a stop or a pause",
    "cancelled": "cancelled",
}


# A destination whose access was never verified is exported to by nobody.
_EXPORTED_BY_HAND: tuple[DestinationState, ...] = ("active", "paused")
_OTHER_CONTENT = (
    "An object with other content is in the way. Export again with Overwrite previously exported "
    "data ticked to replace it; without it the object stays and this hour stays in conflict."
)
_ONCE_MORE = (
    "Export again puts what is missing in the bucket. Objects that were changed there are replaced "
    "only with Overwrite previously exported data ticked."
)


# Offline devices send what is weeks old; more dates than these say nothing more.
DAYS_MAX = 14


class FileView(msgspec.Struct, frozen=True):
    """One file of the hour; `uri` is where it lies in the bucket, empty until it does.

    `path` is that of its page, below the hour's.
    """

    id: str
    path: str
    name: str
    lines: str
    size: str
    sha256: str
    uri: str


class Moment(msgspec.Struct, frozen=True):
    """One thing that happened, with how long it took where that is known."""

    at: str
    what: str
    took: str
    why: str = ""


class Day(msgspec.Struct, frozen=True):
    """How many of the hour's events happened on one UTC date; `most` is the busiest one's."""

    date: str
    said: str
    count: int
    most: int


class RunView(msgspec.Struct, frozen=True):
    """One run of the hour. `equation` says in words that nothing is missing."""

    id: str
    title: str
    state: str
    tone: Tone
    headline: str
    cause: str
    fix: str
    files: tuple[FileView, ...]
    timeline: tuple[Moment, ...]
    equation: str
    days: tuple[Day, ...]


class Again(msgspec.Struct, frozen=True):
    """What an export of an ended hour by hand is called, of which data, and what it would do."""

    text: str
    types: tuple[DataType, ...]
    help: str


def run_views(destination: Destination, found: HourDetail) -> tuple[RunView, ...]:
    """Return the runs of an hour as people read them: automatic ones first."""
    ordered = sorted(found.runs, key=lambda one: (one.run.manual_export, one.run.data_type))
    return tuple(_run(destination, one) for one in ordered)


def headline(destination: Destination, found: HourDetail, hour: Hour, now_micros: int) -> str:
    """Return the one sentence that says how the hour stands."""
    done = [one for one in found.runs if one.run.state == "success"]
    if _is_open(found, hour, now_micros):
        return "This hour is not closed yet; it is exported when it is over."
    if not found.runs:
        return "This hour is not exported to this destination."
    if len(done) == len(found.runs):
        ends = [one.run.finished_micros or 0 for one in done]
        late = [one.delay_seconds for one in done if one.delay_seconds is not None]
        after = f", {took(max(late))} after the hour closed" if late else ""
        return f"Exported at {_time(max(ends))}{after}."
    return "Not exported yet: what is missing is named below."


def again(destination: Destination, found: HourDetail, hour: Hour, now_micros: int) -> Again | None:
    """Return the export of an hour by hand that makes sense; None while there can be none."""
    if _is_open(found, hour, now_micros) or destination.state not in _EXPORTED_BY_HAND:
        return None
    owed = {one.run.data_type for one in found.runs}
    types = tuple(one for one in destination.data_types if one in owed) or destination.data_types
    states = {one.run.state for one in found.runs}
    if "conflict" in states:
        return Again("Export again", types, _OTHER_CONTENT)
    if "success" in states:
        return Again("Export again", types, _ONCE_MORE)
    return Again("Export this hour", types, "")


def _is_open(found: HourDetail, hour: Hour, now_micros: int) -> bool:
    return not found.over or Hour.of_micros(now_micros) <= hour


def _run(destination: Destination, found: RunDetail) -> RunView:
    run = found.run
    word, tone = _STATES[run.state]
    by = "" if run.manual_export == AUTOMATIC else f" by manual export {run.manual_export}"
    cause = run.cause if run.state in ("retrying", "failed", "conflict") else None
    return RunView(
        id=f"{run.data_type}-{run.manual_export}",
        title=f"{_TYPES[run.data_type]}{by}",
        state=word,
        tone=tone,
        headline=f"{counted(run.files, 'file')}, {counted(run.attempts, 'attempt')}",
        cause="" if cause is None else cause.sentence,
        fix="" if cause is None else cause.fix,
        files=tuple(_file(destination, run.data_type, one) for one in found.files),
        timeline=tuple(_timeline(run.hour, run.tries)),
        equation="" if found.equation is None else equation(found.equation),
        days=days_of(found.event_dates),
    )


def days_of(event_dates: Mapping[str, int]) -> tuple[Day, ...]:
    """Return the dates on which an hour's events happened, the newest first, few of them."""
    most = max(event_dates.values(), default=0)
    newest = sorted(event_dates.items(), reverse=True)[:DAYS_MAX]
    return tuple(Day(date, counted(count, "event"), count, most) for date, count in newest)


def equation(found: Equation) -> str:
    """Return how an hour's events add up, with what does not belong left out."""
    parts = [
        f"{number:,} {name}"
        for number, name in (
            (found.exported, "exported"),
            (found.duplicates, "duplicates"),
            (found.identifies, "identifies"),
            (found.filtered, "filtered"),
            (found.held, "held"),
        )
        if number or name == "exported"
    ]
    return f"{found.accepted:,} accepted = {' + '.join(parts)}"


def _file(destination: Destination, data_type: str, one: FileOfRun) -> FileView:
    there = one.delivered
    return FileView(
        id=f"uri-{data_type}-{one.number}",
        path=f"files/{data_type}/{one.number}",
        name=one.name,
        lines=f"{one.lines:,}",
        size=size(one.size_bytes),
        sha256=one.sha256,
        uri="" if there is None else f"s3://{destination.bucket}/{there.key}",
    )


def _timeline(hour: Hour, tries: Sequence[Try]) -> list[Moment]:
    moments = [
        Moment(_time(hour.start_micros), "opened", ""),
        Moment(_time(hour.end_micros), "closed", ""),
    ]
    for number, one in enumerate(tries, start=1):
        ended = one.ended_micros
        moments.append(
            Moment(
                at=_time(one.began_micros),
                what=f"attempt {number}: {_OUTCOMES[one.outcome]}",
                took="" if ended is None else took((ended - one.began_micros) / MICROS),
                why="" if one.cause is None else one.cause.sentence,
            )
        )
    return moments


def _time(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%d %H:%M:%S} UTC"
