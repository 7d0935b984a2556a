"""What a person gets who asked for a range without data: where data are, and a text for support.

Checking the range comes first (R26); the text is for whoever is asked next. It holds versions,
hours, states and what stores answered, and neither events nor secrets.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

import msgspec

from tailrace import __version__
from tailrace.clock import to_datetime
from tailrace.export.ranges import HourRange
from tailrace.hours import Hour
from tailrace.state.delivery import AUTOMATIC, Cause, DataType, Destination, RunState
from tailrace.state.ledger_view import LedgerView
from tailrace.state.manual_reports import DatesWithData

# So many stretches of dates are named, the newest.
DATES_MAX = 20
# So many runs in trouble, the newest of each state.
TROUBLES_MAX = 3
_TROUBLED: tuple[RunState, ...] = ("failed", "conflict", "retrying")


class NoData(msgspec.Struct, frozen=True):
    """The dates that have data, the newest last, and the text to copy."""

    dates: dict[str, tuple[DatesWithData, ...]]
    support_text: str


def no_data(
    destination: Destination,
    asked: HourRange,
    data_types: Sequence[DataType],
    ledger: LedgerView,
    now_micros: int,
) -> NoData:
    """Look where data are, and gather what support would ask for."""
    dates: dict[str, tuple[DatesWithData, ...]] = {}
    for data_type in data_types:
        scope = destination.scope_of(data_type)
        dates[data_type] = tuple(ledger.dates_with_data(scope)[-DATES_MAX:])
    lines = [
        *_about(destination, asked, data_types, now_micros),
        *_hours(destination, asked, data_types, ledger),
        *(line for data_type in data_types for line in _dates(data_type, dates[data_type])),
        *_runs(destination, ledger),
    ]
    return NoData(dates, "\n".join(lines))


def _about(
    destination: Destination, asked: HourRange, data_types: Sequence[DataType], now_micros: int
) -> Iterator[str]:
    yield f"tailrace {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield f"time: {to_datetime(now_micros):%Y-%m-%dT%H:%M:%SZ}"
    yield f"asked for: {' and '.join(data_types)} of {asked}"
    begin = "none" if destination.from_hour is None else str(destination.from_hour)
    yield (
        f"destination {destination.id}: {destination.kind}, {destination.state}, project "
        f"{destination.project}, organization {destination.organization}, hours from {begin}"
    )
    if destination.outage_cause is not None:
        yield f"outage: {_evidence(destination.outage_cause)}"


def _hours(
    destination: Destination, asked: HourRange, data_types: Sequence[DataType], ledger: LedgerView
) -> Iterator[str]:
    newest = ledger.newest_sealed_hour()
    yield f"newest sealed hour of the installation: {newest or 'none'}"
    for data_type in data_types:
        scope = destination.scope_of(data_type)
        count = ledger.sealed_count(scope, asked.from_hour, asked.until_hour)
        asked_hours = asked.until_hour.number - asked.from_hour.number
        span = ledger.sealed_span(scope, Hour(0), asked.until_hour)
        first = "none" if span is None else str(span[0])
        yield (
            f"hours of {data_type}: {asked_hours} asked for, {count} of them sealed; "
            f"first sealed hour before the range's end: {first}"
        )


def _dates(data_type: str, dates: Sequence[DatesWithData]) -> Iterator[str]:
    if not dates:
        yield f"dates with {data_type}: none"
    for one in dates:
        yield f"dates with {data_type}: {one.first} to {one.last}, {one.lines} lines"


def _runs(destination: Destination, ledger: LedgerView) -> Iterator[str]:
    counts = [
        f"{count.runs} {count.state}"
        for count in ledger.run_counts()
        if count.destination_id == destination.id
    ]
    yield f"runs of the destination: {', '.join(counts) or 'none'}"
    for state in _TROUBLED:
        for run in ledger.runs(destination_id=destination.id, states=(state,), limit=TROUBLES_MAX):
            by_hand = "" if run.manual_export == AUTOMATIC else f" by hand ({run.manual_export})"
            why = "no cause" if run.cause is None else _evidence(run.cause)
            yield f"{state} {run.data_type} of {run.hour}{by_hand}, attempt {run.attempts}: {why}"


def _evidence(cause: Cause) -> str:
    """Return what the store answered, for somebody who knows the store."""
    facts = {
        "call": cause.call,
        "status": cause.status,
        "code": cause.code,
        "permission": cause.permission,
        "key": cause.key,
        "request id": cause.request_id,
        "host id": cause.host_id,
        "region": cause.region,
    }
    found = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    return f"{cause.kind}: {found}"
