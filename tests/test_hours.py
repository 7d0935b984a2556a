"""Hours: parsing, printing and ranges."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.clock import to_datetime, to_micros
from tailrace.errors import BadRequest
from tailrace.hours import HOUR_MICROS, Hour, hour_label

NUMBERS = st.integers(min_value=0, max_value=70_000_000)


@given(NUMBERS)
def test_an_hour_reads_back_from_its_text(number: int) -> None:
    hour = Hour(number)
    assert Hour.parse(str(hour)) == hour


@given(st.integers(min_value=0, max_value=253_402_300_799_999_999))
def test_a_moment_lies_in_its_hour(micros: int) -> None:
    hour = Hour.of_micros(micros)
    assert hour.start_micros <= micros < hour.end_micros
    assert hour.end_micros == hour.next().start_micros
    assert Hour.of(to_datetime(micros)) == hour
    assert to_micros(to_datetime(micros)) == micros


@pytest.mark.parametrize(
    "text", ["", "2026-11-23", "2026-11-23T24", "2026-11-23T1", "2026-11-23 13", "26-11-23T13"]
)
def test_other_text_is_refused_with_the_form_to_use(text: str) -> None:
    with pytest.raises(BadRequest, match="2026-11-23T13"):
        Hour.parse(text)


def test_the_first_partition_of_the_documented_example_is_hour_17() -> None:
    hour = Hour.of(datetime(2020, 1, 25, 17, 59, 59, 999999, tzinfo=UTC))
    assert (hour.date, hour.of_day, str(hour)) == ("2020-01-25", 17, "2020-01-25T17")
    assert hour_label(hour) == "2020-01-25 17:00 to 18:00 UTC"


def test_a_range_has_its_first_hour_and_not_its_last() -> None:
    first = Hour.parse("2026-12-31T23")
    assert [str(hour) for hour in Hour.range(first, first.plus(2))] == [
        "2026-12-31T23",
        "2027-01-01T00",
    ]
    assert first.day_start() == Hour.parse("2026-12-31T00")
    assert first.next().previous() == first
    assert first.end_micros - first.start_micros == HOUR_MICROS
