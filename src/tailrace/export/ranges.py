"""The range of a manual export as a person writes it: UTC dates or hours, both ends included."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from tailrace.errors import BadRequest
from tailrace.hours import Hour

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}")
_DAY_HOURS = 24
# No hour is older.
_FIRST_DATE = "1970-01-01"
# As the lists of manual exports call them (R48).
_START, _END = "start date", "end date"


class HourRange(msgspec.Struct, frozen=True):
    """The hours from `from_hour` up to and without `until_hour`."""

    from_hour: Hour
    until_hour: Hour

    def __str__(self) -> str:
        return f"{self.from_hour} to {self.until_hour.previous()} (UTC)"


def parse_range(first: str, last: str, now: Hour) -> HourRange:
    """Read `2026-01-02` (a whole UTC day) or `2026-01-02T15` (one hour), both ends included.

    There is no limit to the length (R25). Raise `BadRequest` that names the field for what is no
    date, a range that ends before it begins, and one that reaches beyond today or the hour `now`.
    """
    begins, _ = hours_of(_START, first)
    ends, whole_day = hours_of(_END, last)
    until = ends.plus(_DAY_HOURS if whole_day else 1)
    for field, text, hour in ((_START, first, begins), (_END, last, ends)):
        if hour > now:
            raise BadRequest(f"The {field} {text} is in the future: it is {now} (UTC) now.")
    if until <= begins:
        raise BadRequest(f"The end date {last} is before the start date {first}.")
    return HourRange(begins, until)


def parse_open_range(first: str | None, last: str | None, now: Hour) -> HourRange:
    """Read the range of a list, of which either end may be left open; raise as `parse_range`."""
    return parse_range(first or _FIRST_DATE, last or now.date, now)


def hours_of(field: str, text: str) -> tuple[Hour, bool]:
    """Return the first hour of a date or an hour as written, and whether it is a whole day.

    Raise `BadRequest` that names the field.
    """
    try:
        if _DATE.fullmatch(text):
            moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
            return Hour.of(moment), True
        if _HOUR.fullmatch(text):
            return Hour.parse(text), False
    except (ValueError, BadRequest) as error:
        raise _no_date(field, text) from error
    raise _no_date(field, text)


def _no_date(field: str, text: str) -> BadRequest:
    return BadRequest(
        f"The {field} {text[:80]!r} is no date: write it as 2026-01-02, or one hour as "
        "2026-01-02T15 (UTC)."
    )
