"""Two dozen clients with 20 MB bodies at once: memory, the log, and ordinary clients meanwhile."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from fuzz import crowd
from fuzz.crowd_bodies import BIG_BYTES, KINDS, Kind, Request, SmallRequest

# Those that only wait are left to the long run.
PATIENT = {"slow", "stops"}
CLIENTS = 24


# It sends half a gigabyte to a real collector, which decodes what it takes.
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_crowd_of_large_bodies_stays_in_the_budget(tmp_path: Path) -> None:
    kinds = tuple(kind for kind in KINDS if kind.name not in PATIENT)

    found = crowd.run(tmp_path, CLIENTS, BIG_BYTES, kinds)

    assert found.problems == []
    assert found.memory_before < found.memory_peak < crowd.MEMORY_BYTES_MAX
    assert found.answers["small"]["200"] > 0


def test_what_is_answered_200_and_not_in_the_log_once_is_a_problem() -> None:
    lost, doubled, refused, unsure = (Request(n, KINDS[0], "k", 1000) for n in range(4))
    small = SmallRequest(7, "k")
    lost.status = doubled.status = small.status = "200"
    refused.status, unsure.status = "503", "closed"
    requests = [lost, doubled, refused, unsure]
    stored = Counter({"crowd-1": 2, "crowd-2": 1, "crowd-3": 1, "small-7": 1})

    assert crowd.lies(stored, requests, [small]) == [
        "crowd-0 was answered 200 and is in the log 0 times",
        "crowd-1 was answered 200 and is in the log 2 times",
        "crowd-2 was answered 503 and is in the log",
    ]


def test_a_crowd_that_shuts_out_everybody_is_a_problem() -> None:
    shut_out = Request(0, KINDS[0], "k", 1000)
    shut_out.status = "503"

    assert crowd.wrong_answers([shut_out], {"small": {crowd.KEYS_UNREAD: 3}}) == [
        "no ordinary client was answered 200",
        "no big body at all was taken",
    ]
    shut_out.status = "500"
    assert "was answered 500" in crowd.wrong_answers([shut_out], {"small": {"200": 1}})[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_big_body_has_about_the_bytes_that_it_should(kind: Kind) -> None:
    size = sum(len(part) for part, _ in Request(1, kind, "k", 4_000_000).parts())

    if kind.is_gzip:
        assert size < 800_000
    elif not kind.stops:
        assert 3_800_000 < size <= 4_000_200
