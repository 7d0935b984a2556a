"""How sign-in attempts are counted."""

from __future__ import annotations

import pytest

from tailrace.clock import SteppedClock
from tailrace.web.attempts import ALLOWED, ALLOWED_PER_CLIENT, REFILL_MICROS, ROWS_MAX, Attempts


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(0)


@pytest.fixture
def attempts(clock: SteppedClock) -> Attempts:
    return Attempts(clock)


def test_an_attempt_that_is_refused_takes_nothing(attempts: Attempts, clock: SteppedClock) -> None:
    for _ in range(ALLOWED):
        assert attempts.wait_seconds("198.51.100.1", "a") == 0
    for _ in range(100):
        assert attempts.wait_seconds("198.51.100.2", "a") == 60
    clock.advance(REFILL_MICROS - 1)
    assert attempts.wait_seconds("198.51.100.2", "a") == 1
    clock.advance(1)
    assert attempts.wait_seconds("198.51.100.2", "a") == 0
    # The other address has lost one attempt only: the one that was let through.
    left = [attempts.wait_seconds("198.51.100.2", f"b{n}") for n in range(ALLOWED_PER_CLIENT)]
    assert left.count(0) == ALLOWED_PER_CLIENT - 1


def test_addresses_of_one_ipv6_network_are_one_client(attempts: Attempts) -> None:
    for number in range(ALLOWED_PER_CLIENT):
        assert attempts.wait_seconds(f"2001:db8::{number:x}", f"a{number}") == 0
    assert attempts.wait_seconds("2001:db8::ffff:1", "other") > 0
    assert attempts.wait_seconds("2001:db8:0:1::1", "other") == 0


def test_memory_is_bounded_whatever_is_typed(attempts: Attempts) -> None:
    for number in range(ROWS_MAX):
        attempts.wait_seconds("client", "x" * 10_000 if number == 0 else f"a{number}")
    for number in range(ROWS_MAX):
        attempts.wait_seconds(f"c{number}", f"z{number}")
    assert len(attempts) == ROWS_MAX
