"""Bars: sizes from numbers, and what is said where they are not seen."""

from __future__ import annotations

from tailrace.web.bars import DELAY_HEIGHT, HEIGHT, bars
from tests.web.hours import NOW_MICROS, TODAY, destination, exported, hour, run


def test_the_highest_bar_is_as_high_as_the_drawing() -> None:
    drawn = bars(
        destination(), [exported(12, lines=50), exported(13, lines=100), hour(14)], NOW_MICROS
    )
    assert [(bar.x, bar.height, bar.y) for bar in drawn.events] == [
        (0, HEIGHT // 2, HEIGHT // 2),
        (20, HEIGHT, 0),
    ]
    assert drawn.most == "100"
    assert drawn.summary == "150 events in 2 hours; the longest delay was 2m 26s"


def test_hours_in_trouble_and_late_ones_are_marked() -> None:
    at = TODAY.plus
    known = [
        hour(10, run("failed", at(10))),
        hour(11, run("pending", at(11))),
        hour(12, run("success", at(12), seconds=7200)),
        hour(13, run("success", at(13))),
    ]
    drawn = bars(destination(), known, NOW_MICROS)
    assert [bar.kind for bar in drawn.events] == ["failed", "kept", "out", "out"]
    assert [bar.kind for bar in drawn.delays] == ["late", "delay"]
    assert drawn.delays[0].height == DELAY_HEIGHT
    assert drawn.promised_y == DELAY_HEIGHT // 2
    assert drawn.delays[0].text.endswith("out 2h 0m after it closed")


def test_an_hour_without_events_has_no_bar_and_few_have_a_small_one() -> None:
    known = [exported(11, lines=0), exported(12, lines=1), exported(13, lines=10_000)]
    assert [bar.height for bar in bars(destination(), known, NOW_MICROS).events] == [0, 2, HEIGHT]


def test_at_most_two_days_are_drawn() -> None:
    known = [exported(number) for number in range(-60, 14)]
    drawn = bars(destination(from_hour=TODAY.plus(-60)), known, NOW_MICROS)
    assert len(drawn.events) == 48
    assert [tick.text for tick in drawn.ticks[:2]] == ["18:00", "00:00"]
