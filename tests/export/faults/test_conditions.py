"""409, 412 and 404: other writers at the same key, and uploads that somebody swept away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.export.faults import play
from tests.export.faults.conftest import LARGE, SMALL
from tests.export.faults.proof import drive

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SLOW = pytest.mark.slow(reason="several megabytes go through a real server, more than once")
BUSY = play.refuse(409, "ConditionalRequestConflict")
LAST = ["PutObject", "CompleteMultipartUpload"]


@SLOW
@pytest.mark.parametrize("times", [1, 2, 3, 8])
@pytest.mark.parametrize("operation", LAST)
def test_a_409_is_tried_again(life: Any, operation: str, times: int) -> None:
    life.begin(LARGE if operation.startswith("Complete") else SMALL)
    life.faults.play(operation, BUSY, times=times)

    seen = drive(life.world, life.world.exporter())

    assert len(seen) == times // 3
    assert {kind for _, kind, _ in seen} <= {"temporary"}
    life.prove()


@SLOW
@pytest.mark.parametrize("operation", LAST)
def test_a_412_on_our_own_object_is_a_success(life: Any, operation: str) -> None:
    life.begin(LARGE if operation.startswith("Complete") else SMALL)

    def lose_and_repeat(exchange: Any) -> None:
        """As a network that sends a request twice, and gives the second answer."""
        exchange.pass_on()
        exchange.give(exchange.pass_on())

    life.faults.play(operation, lose_and_repeat)

    seen = drive(life.world, life.world.exporter())

    assert seen == []
    life.prove()


@SLOW
@pytest.mark.parametrize("operation", LAST)
def test_a_412_on_another_s_object_is_a_conflict_and_leaves_it(
    life: Any, owner: S3Client, operation: str
) -> None:
    life.begin(LARGE if operation.startswith("Complete") else SMALL)
    key = next(iter(life.expected))

    def come_between() -> None:
        owner.put_object(Bucket=life.bucket, Key=key, Body=b"theirs")

    life.faults.play(operation, play.first(come_between))

    drive(life.world, life.world.exporter())

    assert life.world.run().state == "conflict"
    assert owner.get_object(Bucket=life.bucket, Key=key)["Body"].read() == b"theirs"
    assert not owner.list_multipart_uploads(Bucket=life.bucket).get("Uploads")
    assert [one.key for one in life.faults.reached if one.ok and one.operation in LAST] == []


@SLOW
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_a_rule_swept_away_is_begun_anew(
    life: Any, owner: S3Client, operation: str, nth: int
) -> None:
    life.begin(LARGE)

    def sweep() -> None:
        for upload in owner.list_multipart_uploads(Bucket=life.bucket)["Uploads"]:
            owner.abort_multipart_upload(
                Bucket=life.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    times = nth if operation.startswith("Complete") else 1
    nth = 1 if operation.startswith("Complete") else nth
    rule = life.faults.play(operation, play.first(sweep), nth=nth, times=times)

    seen = drive(life.world, life.world.exporter())

    assert rule.met >= nth
    assert seen == []
    life.prove()


@SLOW
def test_an_upload_that_is_said_to_be_gone_after_it_was_completed_is_found(life: Any) -> None:
    life.begin(LARGE)

    def complete_and_deny(exchange: Any) -> None:
        exchange.pass_on()
        play.refuse(404, "NoSuchUpload")(exchange)

    life.faults.play("CompleteMultipartUpload", complete_and_deny)

    seen = drive(life.world, life.world.exporter())

    assert seen == []
    assert life.faults.count("CompleteMultipartUpload") == 1
    assert life.faults.count("CreateMultipartUpload") == 1
    life.prove()


@SLOW
def test_uploads_that_vanish_each_time_are_tried_again_later(life: Any) -> None:
    life.begin(LARGE)
    life.faults.play("UploadPart", play.refuse(404, "NoSuchUpload"), times=5)

    seen = drive(life.world, life.world.exporter())

    assert [kind for _, kind, _ in seen] == ["temporary"]
    life.prove(empty_uploads=5)
