"""Faults at random for a few dozen hours: two workers, two destinations, the same proof.

`TAILRACE_FAULTS_SEEDS=200` runs as many days; the seed is in each test's name. It decides the
faults and the clock, not how the two workers' threads interleave.
"""

from __future__ import annotations

import os
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.demo import seaweed
from tailrace.export.deliver import LEASE_SECONDS
from tests.export.faults import play
from tests.export.faults.conftest import LARGE, PREFIX, SMALL, Life
from tests.export.faults.proof import drive
from tests.export.faults.proxy import Fault, FaultProxy, Rule

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SEEDS = int(os.environ.get("TAILRACE_FAULTS_SEEDS", "2"))
HOURS = 24
# A day has some thirty rules, of which a third comes to its turn, most of them more than once.
FAULTS_MIN = 6
# Of them one in six has a file of two parts as well.
LARGE_EVERY = 6
OPERATIONS = (
    "HeadObject",
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
)
# Files and markers, or manifests; not the object of the probes, whose rests stay in the bucket.
KEYS = ("exports/[!_]*", "exports/[!_]*", "exports/_manifests/*")
FAULTS: tuple[Fault, ...] = (
    play.lose_answer,
    play.lose_answer,
    play.lose_request,
    play.lose_half_the_body,
    play.cut_headers,
    play.cut_body,
    play.reset,
    play.half_close,
    play.refuse(503, "SlowDown"),
    play.early(503, "SlowDown"),
    play.refuse(500, "InternalError"),
    play.say(503, play.HTML),
    play.refuse(409, "ConditionalRequestConflict"),
    play.refuse(403, "RequestTimeTooSkewed"),
    play.refuse(403, "AccessDenied"),
)


def work_together(world: Any, exporters: list[Any], seconds: int) -> None:
    """Let each deliver one run at the same time; meanwhile the clock goes on, over leases too."""
    threads = [threading.Thread(target=one.deliver_next) for one in exporters]
    for thread in threads:
        thread.start()
    world.wait(seconds)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.slow(reason="a day of hours goes through a real server, with faults")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_day_of_faults_at_random_ends_with_every_hour_once(
    world: Any,
    bucket: str,
    faults: FaultProxy,
    owner: S3Client,
    server: seaweed.Seaweed,
    seed: int,
) -> None:
    chance = random.Random(seed)
    other = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(other)
    server.put_policy(other, seaweed.export_policy(PREFIX))
    life, twin = (Life(world, name, faults, owner) for name in (bucket, other))
    life.begin(SMALL, LARGE)
    twin.destination = world.add_destination(other, endpoint_url=faults.url)
    exporters = [world.exporter(), world.exporter()]
    lost_creates = 0
    rules: list[Rule] = []
    for number in range(1, HOURS):
        hour = world.hour.plus(number)
        life.seal(hour, SMALL[number:], *([LARGE] if number % LARGE_EVERY == 0 else []))
        for _ in range(chance.randrange(4)):
            operation = chance.choice(OPERATIONS)
            fault = chance.choice(FAULTS)
            lost_creates += operation.startswith("Create")
            rules.append(
                faults.play(
                    operation,
                    fault,
                    chance.choice(KEYS),
                    nth=chance.randint(1, 3),
                    times=chance.choice((1, 1, 2, 9)),
                )
            )
        for _ in range(chance.randrange(4)):
            work_together(world, exporters, chance.choice((0, 1, 5, LEASE_SECONDS + 1)))
            chance.choice(exporters).look_after()
            world.wait(chance.choice((0, 1, 5, 60, 600)))

    faults.calm()
    drive(world, *exporters, hours=48)

    assert sum(rule.played for rule in rules) >= FAULTS_MIN
    assert {run.state for run in world.ledger.runs()} == {"success"}
    assert len(world.ledger.runs()) == 2 * HOURS
    reached = [one for one in faults.reached if "_tailrace/" not in one.key]
    for one in (life, twin):
        faults.reached[:] = [request for request in reached if request.bucket == one.bucket]
        one.expected = life.expected
        one.prove(empty_uploads=9 * lost_creates)
