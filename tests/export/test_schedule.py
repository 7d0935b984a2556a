from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.clock import MICROS
from tailrace.export.schedule import (
    BACKOFF_MAX_SECONDS,
    after_refusal,
    after_trouble,
    next_probe,
)

NOW = 1_700_000_000 * MICROS


class FixedIds:
    def __init__(self, value: bytes) -> None:
        self._value = value

    def random_bytes(self, count: int) -> bytes:
        return self._value[:count]


LEAST, MOST = FixedIds(bytes(8)), FixedIds(b"\xff" * 8)


@pytest.mark.parametrize(
    ("tries", "delay_minutes"),
    [(1, 1), (2, 2), (3, 5), (4, 10), (5, 20), (6, None), (7, None)],
)
def test_refused_access_is_tried_six_times(tries: int, delay_minutes: int | None) -> None:
    expected = None if delay_minutes is None else NOW + delay_minutes * 60 * MICROS
    assert after_refusal(tries, NOW) == expected


def test_the_six_tries_span_38_minutes() -> None:
    now, tries = NOW, 1
    while (then := after_refusal(tries, now)) is not None:
        now, tries = then, tries + 1
    assert (tries, now - NOW) == (6, 38 * 60 * MICROS)


@pytest.mark.parametrize(
    ("tries", "full_seconds"), [(1, 2), (2, 4), (3, 8), (7, 128), (8, 256), (9, 300), (1000, 300)]
)
def test_trouble_backs_off_up_to_five_minutes(tries: int, full_seconds: int) -> None:
    assert after_trouble(tries, NOW, MOST) == NOW + full_seconds * MICROS
    assert after_trouble(tries, NOW, LEAST) == NOW + full_seconds * MICROS // 2


@given(st.integers(0, 10**9), st.binary(min_size=4, max_size=4))
def test_trouble_never_gives_up_and_never_waits_long(tries: int, luck: bytes) -> None:
    delay = after_trouble(tries, NOW, FixedIds(luck)) - NOW
    assert MICROS <= delay <= BACKOFF_MAX_SECONDS * MICROS


def test_an_outage_is_probed_every_15_minutes() -> None:
    assert next_probe(NOW) == NOW + 15 * 60 * MICROS
