from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.process.times import clamped, micros_text, millis_text, skew_shift

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_a_time_has_a_blank_and_six_decimals() -> None:
    assert millis_text(1_752_748_588_583) == "2025-07-17 10:36:28.583000"
    assert millis_text(0) == "1970-01-01 00:00:00.000000"


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_millisecond_of_four_digit_years_reads_back(millis: int) -> None:
    text = millis_text(millis)

    assert len(text) == 26
    assert datetime.fromisoformat(text + "+00:00") == EPOCH + timedelta(milliseconds=millis)


@pytest.mark.parametrize("beyond", [1, 60_000, 10**15, 10**30])
def test_times_that_no_year_can_say_show_the_nearest_one(beyond: int) -> None:
    assert millis_text(253_402_300_799_999 + beyond) == "9999-12-31 23:59:59.999000"
    assert millis_text(-62_135_596_800_000 - beyond) == "0001-01-01 00:00:00.000000"
    assert clamped(253_402_300_799_999 + beyond) == 253_402_300_799_999


def test_only_the_processed_time_shows_microseconds() -> None:
    assert micros_text(1_752_748_588_583_021) == "2025-07-17 10:36:28.583021"


@pytest.mark.parametrize(
    ("skew", "shift"),
    [(0, 0), (59_999, 0), (-59_999, 0), (60_000, 60_000), (-60_000, -60_000), (90_000, 90_000)],
)
def test_a_skew_of_a_minute_or_more_moves_the_event_time(skew: int, shift: int) -> None:
    assert skew_shift(1_000_000_000 + skew, 1_000_000_000) == shift
