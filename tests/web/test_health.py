"""The word for a destination is tied to the promise: an hour is out within one hour of its end."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.state.delivery import Cause
from tailrace.state.hours_read import KnownHourOf
from tailrace.web.health import health, owed_of
from tests.web.hours import NOW_MICROS, TODAY, destination, exported, hour, hours_ago, run

REFUSED = Cause("access", "AccessDenied", "S3 refuses to let tailrace write.", "Add s3:PutObject.")
AT_13, AT_11 = TODAY.plus(13), TODAY.plus(11)

# 14:20: the hour before ended 20 minutes ago.
CASES: dict[str, tuple[list[KnownHourOf], dict[str, Any], str, str]] = {
    "all is out": ([exported(12), exported(13)], {}, "Healthy", "every closed hour is out"),
    "not verified": ([], {"state": "setting_up"}, "Setting up", "not verified"),
    "an hour waits for 20 minutes": (
        [exported(12), hour(13, run("pending", AT_13))],
        {},
        "Catching up",
        "1 hour waits for its turn",
    ),
    "an hour waits for more than two hours": (
        [hour(11, run("pending", AT_11)), exported(12)],
        {},
        "Late",
        "longer than promised",
    ),
    "an old hour waits, and others go out": (
        [hour(11, run("pending", AT_11)), hour(12, run("success", TODAY.plus(12), seconds=4700))],
        {},
        "Catching up",
        "1 hour waits",
    ),
    "one is tried again": (
        [hour(13, run("retrying", AT_13))],
        {},
        "Retrying",
        "1 hour will be tried again",
    ),
    "one failed": ([hour(13, run("failed", AT_13))], {}, "Needs you", "without a person"),
    "one met other content": ([hour(13, run("conflict", AT_13))], {}, "Needs you", "1 hour"),
    "an outage": (
        [hour(12, run("pending", TODAY.plus(12))), hour(13, run("failed", AT_13))],
        {"outage_since_micros": hours_ago(1.5), "outage_cause": REFUSED},
        "Needs you",
        "nothing goes out for 90 minutes; 2 hours wait",
    ),
    "paused": (
        [hour(13, run("pending", AT_13))],
        {"state": "paused", "paused_micros": TODAY.start_micros},
        "Paused",
        "since 2026-11-20 00:00 UTC by dana@acme.example; 1 hour waits",
    ),
    "a manual export failed": (
        [hour(13, run("success", AT_13), run("failed", AT_13, by=3))],
        {},
        "Healthy",
        "every closed hour is out",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_word_says_how_a_destination_does(name: str) -> None:
    known, changes, word, sentence = CASES[name]
    found = health(destination(**changes), known, NOW_MICROS, "dana@acme.example")
    assert found.word == word
    assert sentence in found.sentence


def test_an_hour_that_has_just_ended_is_no_delay() -> None:
    known = [hour(13, run("pending", AT_13))]
    assert health(destination(), known, AT_13.end_micros + 60_000_000).word == "Healthy"


def test_what_is_owed_is_counted_once_an_hour() -> None:
    both = (run("failed", AT_13), run("retrying", AT_13, data_type="merged-ids"))
    owed = owed_of([exported(12), hour(13, *both), hour(14)])
    assert (owed.hours, owed.lines, owed.oldest) == (1, 58_302, AT_13)
    assert (owed.retrying, owed.stuck) == (1, 1)
