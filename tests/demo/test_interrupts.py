"""Signals are sent to this very process, which pytest-xdist runs tests of one by one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tailrace.demo.interrupts import Interrupted, Interrupts

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    yield Interrupts()
    for number, handler in before.items():
        signal.signal(number, handler)


def _send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", _NUMBERS)
def test_a_signal_interrupts_work(interrupts: Interrupts, number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as caught, interrupts.raised():
        _send(number)

    assert caught.value.number == number


def test_a_signal_outside_of_work_is_noted_and_stops_the_next_work(
    interrupts: Interrupts,
) -> None:
    _send(signal.SIGTERM)
    reached = False

    with pytest.raises(Interrupted), interrupts.raised():
        reached = True

    assert not reached
    assert interrupts.received == signal.SIGTERM


def test_a_deferred_signal_comes_when_the_section_is_over(interrupts: Interrupts) -> None:
    steps = []

    def work() -> None:
        with interrupts.raised():
            with interrupts.deferred():
                _send(signal.SIGINT)
                steps.append("the section is finished")
            steps.append("never")

    with pytest.raises(Interrupted):
        work()

    assert steps == ["the section is finished"]


def test_a_second_signal_does_not_disturb_the_putting_away(interrupts: Interrupts) -> None:
    steps = []

    def work() -> None:
        with interrupts.raised():
            try:
                _send(signal.SIGINT)
            finally:
                _send(signal.SIGTERM)
                steps.append("put away")

    with pytest.raises(Interrupted) as caught:
        work()

    assert steps == ["put away"]
    assert caught.value.number == signal.SIGINT


def test_a_demo_under_nohup_survives_its_terminal() -> None:
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().raised():
            _send(signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
