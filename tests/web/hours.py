"""A destination and its hours as tests of view values make them."""

from __future__ import annotations

from typing import Any

import msgspec

from tailrace.clock import MICROS
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.state.delivery import AUTOMATIC, Destination, RunState
from tailrace.state.hours_read import KnownHourOf, RunOfHour
from tests.destinations import AT_AMAZON

TODAY = Hour.parse("2026-11-20T00")
NOW = Hour.parse("2026-11-20T14")
NOW_MICROS = NOW.start_micros + 20 * 60 * MICROS

DESTINATION = msgspec.structs.replace(
    AT_AMAZON,
    project=300001,
    bucket="acme-events",
    region="eu-central-1",
    prefix="raw/",
    from_hour=TODAY,
    created_micros=TODAY.start_micros,
)


def destination(**changes: Any) -> Destination:
    return msgspec.structs.replace(DESTINATION, **changes)


def run(
    state: RunState, hour: Hour, *, seconds: float = 146, by: int = AUTOMATIC, **changes: Any
) -> RunOfHour:
    finished = hour.end_micros + round(seconds * MICROS) if state == "success" else None
    values: dict[str, Any] = {
        "data_type": "events",
        "manual_export": by,
        "state": state,
        "attempts": 1,
        "due_micros": None,
        "finished_micros": finished,
    }
    return RunOfHour(**values | changes)


def hour(
    number: int, *runs: RunOfHour, lines: int = 58_302, files: int = 2, sealed: bool = True
) -> KnownHourOf:
    there = sealed and number < NOW.of_day
    return KnownHourOf(
        hour=TODAY.plus(number),
        sealed=there,
        files=files if there else 0,
        lines=lines if there else 0,
        size_bytes=1_200_000 if there else 0,
        runs=runs,
    )


def exported(number: int, **changes: Any) -> KnownHourOf:
    return hour(number, run("success", TODAY.plus(number)), **changes)


def hours_ago(hours: float) -> int:
    return NOW_MICROS - round(hours * HOUR_MICROS)
