from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.clock import MICROS, SteppedClock
from tailrace.files import Files
from tailrace.log.stamping import CLOCK_ACCEPTED_FILE, Stamper, accept_clock

START = 1_770_000_000 * MICROS
MINUTE = 60 * MICROS
DAY = 86_400 * MICROS


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(START, steady_micros=77 * MICROS)


def stamper(folder: Path, clock: SteppedClock, last_stamp: int = 0) -> Stamper:
    made = Stamper(folder, 1, clock, last_stamp)
    made.observe()
    return made


@given(st.lists(st.integers(-3 * MICROS, 4 * MICROS), max_size=50))
def test_stamps_always_grow_and_never_lie_below_the_clock(moves: list[int]) -> None:
    clock = SteppedClock(START)
    stamps = stamper(Path("/nowhere"), clock)
    last = 0
    for move in moves:
        clock.step(move)
        stamps.observe()
        stamp = stamps.take()
        assert stamp == max(last + 1, clock.now_micros())
        last = stamp


def test_a_forward_step_over_five_seconds_is_refused(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(5 * MICROS + 1)
    stamps.observe()
    assert stamps.is_stepped()
    assert stamps.state.condition == "stepped"
    assert stamps.state.alarm
    assert "tailrace clock accept" in str(stamps.refusal())


def test_a_process_that_stands_still_while_it_looks_sees_no_step(tmp_path: Path) -> None:
    class Stopped(SteppedClock):
        """Stop the process for a minute between two readings, once."""

        stops = 0

        def now_micros(self) -> int:
            now = super().now_micros()
            if self.stops:
                self.stops -= 1
                self.advance(MINUTE)
            return now

    clock = Stopped(START)
    stamps = stamper(tmp_path, clock)
    clock.stops = 1
    stamps.observe()
    stamps.observe()
    assert not stamps.is_stepped()
    assert stamps.take() == START + MINUTE


def test_a_forward_step_of_five_seconds_is_taken(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    clock.step(5 * MICROS)
    stamps.observe()
    assert not stamps.is_stepped()


def test_a_suspended_machine_is_no_step(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    clock.advance(3 * DAY)
    stamps.observe()
    assert not stamps.is_stepped()
    assert stamps.take() == START + 3 * DAY


def test_slewing_is_no_step_however_long_it_lasts(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    for _ in range(60_000):
        clock.advance(MICROS)
        clock.step(500)
        stamps.observe()
        assert not stamps.is_stepped()
    assert stamps.take() == START + 60_000 * (MICROS + 500)


def test_an_accepted_step_is_taken(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    clock.step(3600 * MICROS)
    stamps.observe()
    assert accept_clock(tmp_path, clock, Files()) == START + 3600 * MICROS
    clock.advance(MICROS)
    stamps.observe()
    assert not stamps.is_stepped()
    assert stamps.take() == clock.now_micros()
    assert stamps.state.condition == "right"


def test_the_acceptance_is_looked_for_once_a_second(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    clock.step(3600 * MICROS)
    stamps.observe()
    stamps.observe()
    accept_clock(tmp_path, clock, Files())
    clock.advance(MICROS - 1)
    stamps.observe()
    assert stamps.is_stepped()
    clock.advance(1)
    stamps.observe()
    assert not stamps.is_stepped()


@pytest.mark.parametrize("late", [-1, 10 * MINUTE + 1])
def test_an_acceptance_of_another_time_accepts_nothing(
    tmp_path: Path, clock: SteppedClock, late: int
) -> None:
    stamps = stamper(tmp_path, clock)
    clock.step(3600 * MICROS)
    accept_clock(tmp_path, clock, Files())
    clock.step(late)
    stamps.observe()
    clock.advance(0)
    stamps.observe()
    assert stamps.is_stepped()


def test_an_unreadable_acceptance_accepts_nothing(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    (tmp_path / CLOCK_ACCEPTED_FILE).write_bytes(b"{")
    clock.step(3600 * MICROS)
    stamps.observe()
    stamps.observe()
    assert stamps.is_stepped()


def test_a_step_that_is_taken_back_heals_by_itself(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(3600 * MICROS)
    stamps.observe()
    assert stamps.is_stepped()
    clock.advance(MINUTE)
    clock.step(-3600 * MICROS)
    stamps.observe()
    assert not stamps.is_stepped()
    assert stamps.take() == START + MINUTE


def test_a_backward_step_freezes_the_stamp_and_alarms_after_five_seconds(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(-3600 * MICROS)
    stamps.observe()
    first = stamps.state
    assert [stamps.take(), stamps.take()] == [START + 1, START + 2]
    clock.advance(5 * MICROS - 1)
    stamps.observe()
    before = stamps.state
    clock.advance(1)
    stamps.observe()
    assert first.condition == "behind"
    assert [first.alarm, before.alarm, stamps.state.alarm] == [False, False, True]
    assert stamps.state.off_by_micros == 3595 * MICROS + 2


def test_a_clock_that_caught_up_is_right_again(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(-MINUTE)
    stamps.observe()
    clock.advance(MINUTE)
    stamps.observe()
    assert stamps.state.condition == "right"
    assert not stamps.state.alarm


def test_a_clock_set_back_and_forth_within_the_logs_time_is_no_step(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(-3600 * MICROS)
    stamps.observe()
    clock.step(3600 * MICROS)
    stamps.observe()
    assert not stamps.is_stepped()


def test_a_start_within_seven_days_of_the_last_entry_needs_no_word(
    tmp_path: Path, clock: SteppedClock
) -> None:
    assert not stamper(tmp_path, clock, START - 7 * DAY).is_stepped()


def test_a_start_over_seven_days_after_the_last_entry_waits_for_the_operator(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock, START - 7 * DAY - 1)
    assert stamps.is_stepped()
    accept_clock(tmp_path, clock, Files())
    clock.advance(MICROS)
    stamps.observe()
    assert not stamps.is_stepped()


def test_a_word_given_before_the_start_counts(tmp_path: Path, clock: SteppedClock) -> None:
    accept_clock(tmp_path, clock, Files())
    clock.advance(MINUTE)
    assert not stamper(tmp_path, clock, START - 30 * DAY).is_stepped()


def test_stamps_pass_those_of_other_partitions(tmp_path: Path, clock: SteppedClock) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.observe(START + 900)
    assert stamps.take() == START + 901


def test_a_clock_that_was_set_back_for_a_while_and_is_right_again_needs_no_word(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(-3600 * MICROS)
    for _ in range(60):
        stamps.observe()
        stamps.take()
        clock.advance(MICROS)
    clock.step(3600 * MICROS)
    stamps.observe()
    assert not stamps.is_stepped()
    assert stamps.take() == START + MINUTE
    assert stamps.state.condition == "right"


def test_a_clock_that_was_set_back_and_then_too_far_forward_waits(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(-3600 * MICROS)
    stamps.observe()
    clock.advance(MINUTE)
    clock.step(3605 * MICROS + 1)
    stamps.observe()
    assert stamps.is_stepped()


def test_a_clock_that_was_set_back_for_good_is_guarded_again_once_it_caught_up(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock)
    stamps.take()
    clock.step(-60 * MICROS)
    stamps.observe()
    clock.advance(MINUTE + MICROS)
    stamps.observe()
    clock.step(6 * MICROS)
    stamps.observe()
    assert stamps.is_stepped()


def test_after_a_start_behind_the_log_the_right_time_needs_no_word(
    tmp_path: Path, clock: SteppedClock
) -> None:
    clock.step(-3600 * MICROS)
    stamps = stamper(tmp_path, clock, START)
    assert stamps.state.condition == "behind"
    clock.advance(MINUTE)
    clock.step(3600 * MICROS)
    stamps.observe()
    assert not stamps.is_stepped()
    assert stamps.take() == START + MINUTE
    clock.step(6 * MICROS)
    stamps.observe()
    assert stamps.is_stepped()


def test_a_start_a_moment_behind_another_partition_believes_no_week(
    tmp_path: Path, clock: SteppedClock
) -> None:
    stamps = stamper(tmp_path, clock, START + 1)
    stamps.observe()
    stamps.take()
    clock.step(20 * MICROS)
    stamps.observe()
    assert stamps.is_stepped()
