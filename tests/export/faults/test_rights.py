"""Rights that are withdrawn in the middle, and given back: the real server decides."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.demo import seaweed
from tests.export.faults import play
from tests.export.faults.conftest import LARGE, PREFIX, SMALL
from tests.export.faults.proof import drive

SLOW = pytest.mark.slow(reason="several megabytes go through a real server, more than once")


def without(*actions: str) -> dict[str, list[str]]:
    policy = seaweed.export_policy(PREFIX)
    for action in actions:
        del policy[action]
    return policy


@SLOW
@pytest.mark.parametrize("abort_too", [False, True])
@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_a_right_withdrawn_in_the_middle_of_an_upload_is_named_and_missed_until_it_returns(
    life: Any, server: seaweed.Seaweed, operation: str, abort_too: bool
) -> None:
    life.begin(SMALL, LARGE)
    gone = without("s3:PutObject", *(["s3:AbortMultipartUpload"] if abort_too else []))
    life.faults.play(
        operation,
        play.first(lambda: server.put_policy(life.bucket, gone)),
        nth=2 if operation == "UploadPart" else 1,
    )
    exporter = life.world.exporter()

    exporter.deliver_next()

    run = life.world.run()
    assert (run.state, run.files_delivered) == ("retrying", 1)
    assert (run.cause.kind, run.cause.permission) == ("access", "s3:PutObject")
    server.put_policy(life.bucket, seaweed.export_policy(PREFIX))
    seen = drive(life.world, exporter)
    assert set(seen) == {("retrying", "access", "AccessDenied")} or not seen
    life.prove()


@SLOW
def test_rights_withdrawn_for_hours_cost_one_outage_and_nothing_else(
    life: Any, server: seaweed.Seaweed
) -> None:
    life.begin(SMALL, LARGE)
    gone = without("s3:PutObject")
    withdraw = play.first(lambda: server.put_policy(life.bucket, gone))
    life.faults.play("UploadPart", withdraw, nth=2)
    exporter = life.world.exporter()
    for _ in range(6 * 12):
        exporter.look_after()
        exporter.deliver_next()
        life.world.wait(300)

    assert life.world.run().state == "failed"
    begun = life.faults.count("CreateMultipartUpload", "*#*")
    assert begun == 6, "the first try and five more"
    outage = life.world.destinations.get(life.destination.id).outage_cause
    assert outage.permission == "s3:PutObject"

    server.put_policy(life.bucket, seaweed.export_policy(PREFIX))
    drive(life.world, exporter)
    life.faults.reached[:] = [one for one in life.faults.reached if "_tailrace/" not in one.key]
    life.prove()
