"""Stores that go on for ever, byte by byte: each request ends within a total time."""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.demo import seaweed
from tailrace.export import bucket as bucket_module
from tailrace.export.deliver import LEASE_SECONDS
from tailrace.export.transport import (
    ANSWER_BYTES_MAX,
    ANSWER_SECONDS,
    BYTES_PER_SECOND_MIN,
    COMPLETE_SECONDS,
)
from tests.export.faults import play
from tests.export.faults.conftest import LARGE, PART_BYTES, SMALL, Life, quick_clients
from tests.export.faults.proof import drive
from tests.export.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SLOW = pytest.mark.slow(reason="several megabytes go through a real server in small pieces")


@SLOW
@pytest.mark.parametrize(
    ("operation", "seconds"),
    [
        ("PutObject", ANSWER_SECONDS),
        ("HeadObject", ANSWER_SECONDS),
        ("CreateMultipartUpload", ANSWER_SECONDS),
        ("UploadPart", ANSWER_SECONDS + PART_BYTES // BYTES_PER_SECOND_MIN),
        ("CompleteMultipartUpload", COMPLETE_SECONDS),
    ],
)
def test_an_answer_that_trickles_is_given_up_after_its_time(
    life: Any, operation: str, seconds: int
) -> None:
    life.begin(SMALL, LARGE)
    taken: list[int] = []
    rule = life.faults.play(operation, play.trickle(lambda: step(life, 7, taken)))

    exporter = life.world.exporter()
    assert exporter.deliver_next()

    run = life.world.run()
    assert rule.met
    assert (run.state, run.cause.kind, run.cause.code) == ("retrying", "temporary", "Overrun")
    drive(life.world, exporter)
    assert seconds <= sum(taken) <= seconds + 4 * 7
    life.prove(empty_uploads=int(operation.startswith("Create")))


def step(life: Any, seconds: int, taken: list[int]) -> None:
    taken.append(seconds)
    life.paced.pass_on(seconds)


@SLOW
def test_a_complete_that_takes_minutes_and_sends_blanks_keeps_its_lease(life: Any) -> None:
    life.begin(LARGE)
    others: list[Any] = []
    sent = itertools.count()

    def wait() -> None:
        if next(sent) % 10:
            return
        life.paced.pass_on(LEASE_SECONDS / 8)
        others.append(
            life.world.ledger.claim(
                now_micros=life.world.clock.now_micros(), lease_micros=1, destination_limit=9
            )
        )

    life.faults.play("CompleteMultipartUpload", play.trickle(wait))

    assert life.world.exporter().deliver_next()

    assert len(others) * LEASE_SECONDS / 8 > 2 * LEASE_SECONDS
    assert set(others) == {None}
    assert life.world.run().lease == 1
    life.prove()


@pytest.mark.parametrize("piece", [b"x" * 65536, b"<a>" * 10_000])
def test_an_answer_without_end_is_cut_off_at_its_size(life: Any, piece: bytes) -> None:
    life.begin(SMALL)
    sent: list[int] = []
    life.faults.play("PutObject", play.endless(lambda: sent.append(len(piece)), piece))

    seen = drive(life.world, life.world.exporter())

    assert seen == [("retrying", "temporary", "Overrun")]
    # What the system has taken in and nobody has read comes on top.
    assert sum(sent) < ANSWER_BYTES_MAX + 16 * 1024**2
    life.prove()


@pytest.fixture
def narrow(server: seaweed.Seaweed) -> Iterator[FaultProxy]:
    """A proxy whose system takes in little that it has not read."""
    made = FaultProxy(server.endpoint_url, receive_bytes=1024**2)
    yield made
    made.close()


@SLOW
@pytest.mark.parametrize(("bytes_a_second", "fast_enough"), [(8 * 1024, False), (40 * 1024, True)])
def test_a_store_that_reads_slowly_is_given_up_and_a_slow_line_is_not(
    world: Any,
    bucket: str,
    narrow: FaultProxy,
    owner: S3Client,
    monkeypatch: pytest.MonkeyPatch,
    bytes_a_second: int,
    fast_enough: bool,
) -> None:
    # Larger than what the system takes in unread, in one request.
    data = os.urandom(16 * 1024**2)
    monkeypatch.setattr(bucket_module, "MULTIPART_BYTES", len(data) + 1)
    life = Life(world, bucket, narrow, owner).begin(data)
    world.clients = quick_clients(world.clock, silence_seconds=20)
    begun = world.clock.now_micros()
    narrow.play("PutObject", play.sip(bytes_a_second, world.wait))

    world.exporter().deliver_next()

    taken = (world.clock.now_micros() - begun) / 10**6
    assert (world.run().state == "success") == fast_enough, world.run().cause
    if fast_enough:
        assert taken > len(data) / bytes_a_second - 1
        assert world.run().lease == 1
    else:
        cause = world.run().cause
        assert cause.code == "Overrun"
        # Until its connection is closed the store reads on, and its clock with it.
        given_up = re.search(r"after (\d+) s", cause.sentence)
        assert given_up is not None
        assert int(given_up[1]) < len(data) / bytes_a_second / 2
    drive(world, world.exporter())
    life.prove()


@pytest.mark.slow(reason="a silence of a second is sat out, twice")
def test_a_store_that_never_answers_is_given_up_after_its_silence(life: Any) -> None:
    life.world.clients = quick_clients(life.world.clock, silence_seconds=1)
    life.begin(SMALL)
    until = threading.Event()
    life.faults.play("PutObject", play.never(until), times=2)

    seen = drive(life.world, life.world.exporter())

    until.set()
    assert seen == 2 * [("retrying", "temporary", "ReadTimeoutError")]
    life.prove()


@pytest.mark.slow(reason="four workers are started and stopped")
def test_slow_stores_get_half_of_the_workers_and_another_waits_for_none(
    life: Any, server: seaweed.Seaweed
) -> None:
    worlds = life.world
    life.begin(SMALL)
    worlds.add_destination(life.bucket, endpoint_url=life.faults.url)
    worlds.clients = quick_clients(life.paced, silence_seconds=60)
    exporter = worlds.exporter(workers=4)
    life.faults.play("PutObject", play.trickle(lambda: life.paced.pass_on(7)), times=None)
    while not all(run.cause for run in worlds.ledger.runs()):
        assert exporter.deliver_next()
    assert {run.cause.code for run in worlds.ledger.runs()} == {"Overrun"}
    life.faults.calm()
    go = threading.Event()
    held = [threading.Event() for _ in range(4)]
    for one in held:
        life.faults.play("PutObject", play.hold(one, go), nth=1)
    for later in range(1, 4):
        life.seal(worlds.hour.plus(later), SMALL)
    worlds.wait(300)

    exporter.start()
    try:
        assert held[1].wait(30)
        other = f"acme-{os.urandom(6).hex()}"
        server.create_bucket(other)
        server.put_policy(other, seaweed.export_policy("exports/"))
        fine = worlds.add_destination(other)
        assert eventually(lambda: states(worlds, fine.id) == {"success"})
        assert [one.is_set() for one in held] == [True, True, False, False]
    finally:
        go.set()
        assert eventually(lambda: states(worlds) == {"success"})
        assert exporter.stop(30)
    life.prove()


def states(world: Any, destination_id: int | None = None) -> set[str]:
    runs = world.ledger.runs()
    return {run.state for run in runs if destination_id in {None, run.destination_id}}


def eventually(is_so: Callable[[], bool]) -> bool:
    """Poll for what other threads do, for up to 30 s."""
    wait = threading.Event()
    for _ in range(300):
        if is_so():
            return True
        wait.wait(0.1)
    return False
