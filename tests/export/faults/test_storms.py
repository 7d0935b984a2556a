"""Stores that are busy, out of order or gone for a while: no access failure, never given up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.export.faults import play
from tests.export.faults.conftest import LARGE, SMALL
from tests.export.faults.proof import drive
from tests.export.faults.proxy import Fault

SLOW = pytest.mark.slow(reason="several megabytes go through a real server, more than once")
STORMS = {
    "slow down": play.refuse(503, "SlowDown"),
    "slow down before the body": play.early(503, "SlowDown"),
    "internal error": play.refuse(500, "InternalError"),
    "no body": play.say(503, b""),
    "a load balancer's page": play.say(503, play.HTML),
    "a bad gateway's page": play.say(502, play.HTML),
    "too many requests": play.say(429, b""),
    "a 200 that is a page": play.say(200, play.HTML),
    "a reset": play.reset,
    "a FIN": play.half_close,
}
CODES = {
    "SlowDown",
    "InternalError",
    "502",
    "503",
    "429",
    "500",
    "Unconfirmed",
    "ConnectionClosedError",
}
# Within the backed-off delays of five minutes at most, each between half and all of it.
TRIES_AN_HOUR_MAX = 35
_STEP_SECONDS = 30


@SLOW
@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS.keys())
def test_a_storm_of_an_hour_is_sat_out_with_few_requests(life: Any, storm: Fault) -> None:
    life.begin(SMALL, LARGE)
    exporter = life.world.exporter()
    life.faults.play("*", storm, times=None)
    exporter.deliver_next()
    assert life.world.run().cause.code in CODES

    tries = weather(life, exporter, hours=1)

    assert life.faults.reached == []
    assert 10 <= tries <= TRIES_AN_HOUR_MAX
    assert life.faults.count() <= 4 * tries
    life.faults.calm()
    drive(life.world, exporter)
    life.prove()


def weather(life: Any, exporter: Any, hours: int) -> int:
    """Let time pass in short steps in a storm; return how many tries were made."""
    tries = 0
    for _ in range(hours * 3600 // _STEP_SECONDS):
        exporter.look_after()
        while exporter.deliver_next():
            tries += 1
        run = life.world.run()
        assert run.state == "retrying"
        assert run.cause.kind in {"temporary", "unknown"}
        assert run.cause.permission is None
        life.world.wait(_STEP_SECONDS)
    assert life.world.destinations.get(life.destination.id).outage_since_micros is None
    return tries


@pytest.mark.slow(reason="an hour passes in steps of half a minute")
def test_refused_connections_are_tried_again_until_they_are_taken(life: Any) -> None:
    life.begin(SMALL)
    exporter = life.world.exporter()
    life.faults.refuse()

    tries = weather(life, exporter, hours=1)

    assert tries <= TRIES_AN_HOUR_MAX
    assert life.world.run().cause.kind == "temporary"
    life.faults.listen()
    drive(life.world, exporter)
    life.prove()


@SLOW
@pytest.mark.parametrize("count", [1, 7])
def test_every_operation_in_turn_may_be_told_to_slow_down(life: Any, count: int) -> None:
    life.begin(SMALL, LARGE)
    operations = [
        "HeadObject",
        "CreateMultipartUpload",
        "UploadPart",
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "PutObject",
    ]
    rules = [life.faults.play(one, play.refuse(503, "SlowDown"), times=count) for one in operations]

    seen = drive(life.world, life.world.exporter())

    assert {kind for _, kind, _ in seen} == {"temporary"}
    assert all(rule.met >= count for rule in rules)
    life.prove()
