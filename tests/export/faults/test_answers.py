"""Answers that mislead: errors inside a 200, other regions, clocks, checksums and sizes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.state.delivery import Capabilities
from tests.export.faults import play
from tests.export.faults.conftest import LARGE, SMALL
from tests.export.faults.exchange import Answer
from tests.export.faults.proof import drive

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SLOW = pytest.mark.slow(reason="several megabytes go through a real server, more than once")
REGION = [("x-amz-bucket-region", "eu-west-1")]


@SLOW
@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize(("blanks", "declared"), [(0, True), (40, True), (40, False)])
def test_an_error_inside_a_200_from_complete_is_an_error(
    life: Any, carried_out: bool, blanks: int, declared: bool
) -> None:
    life.begin(LARGE)
    fault = play.error_inside_200(carried_out=carried_out, blanks=blanks, declared=declared)
    life.faults.play("CompleteMultipartUpload", fault)

    seen = drive(life.world, life.world.exporter())

    assert [(kind, code) for _, kind, code in seen] == [("temporary", "InternalError")]
    life.prove()


@SLOW
@pytest.mark.parametrize("text", ["<?xml version='1.0'?><CompleteMultipartUploadRes", " " * 99, ""])
def test_a_200_from_complete_that_says_nothing_is_not_believed(life: Any, text: str) -> None:
    life.begin(LARGE)
    life.faults.play("CompleteMultipartUpload", play.say(200, text.encode(), "application/xml"))

    seen = drive(life.world, life.world.exporter())

    assert [kind for _, kind, _ in seen] == ["temporary"]
    life.prove()


@SLOW
@pytest.mark.parametrize(
    ("operation", "size"),
    [
        ("PutObject", "small"),
        ("HeadObject", "large"),
        ("CreateMultipartUpload", "large"),
        ("UploadPart", "large"),
        ("CompleteMultipartUpload", "large"),
    ],
)
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (301, "PermanentRedirect", "access"),
        (400, "AuthorizationHeaderMalformed", "access"),
        (400, "IllegalLocationConstraintException", "access"),
        (403, "RequestTimeTooSkewed", "operator"),
        (400, "ExpiredToken", "access"),
        (403, "InvalidAccessKeyId", "access"),
    ],
)
def test_what_is_no_missing_permission_is_never_called_one(
    life: Any, operation: str, size: str, status: int, code: str, kind: str
) -> None:
    life.begin(SMALL if size == "small" else LARGE)
    headers = REGION if kind == "access" and code[0] in "PAI" and status != 403 else []
    exporter = life.world.exporter()
    refuse = play.refuse(status, code, headers)

    def all_from_now_on() -> None:
        life.faults.play("*", refuse, times=None)

    rule = life.faults.play(operation, play.first(all_from_now_on, refuse))

    exporter.deliver_next()

    assert rule.met
    run = life.world.run()
    assert run.state == "retrying"
    assert (run.cause.kind, run.cause.code) == (kind, code), run.cause
    assert run.cause.permission is None
    life.world.wait(60)
    for _ in range(3):
        exporter.deliver_next()
    life.faults.calm()
    drive(life.world, exporter)
    life.prove()


@pytest.mark.slow(reason="four hours pass minute by minute")
def test_a_wrong_region_for_hours_ends_in_an_outage_that_ends_by_itself(life: Any) -> None:
    life.begin(SMALL)
    exporter = life.world.exporter()
    life.faults.play("*", play.refuse(301, "PermanentRedirect", REGION), times=None)
    for _ in range(4 * 60):
        exporter.look_after()
        exporter.deliver_next()
        life.world.wait(60)
    assert life.world.run().state == "failed"
    outage = life.world.destinations.get(life.destination.id).outage_cause
    assert (outage.kind, outage.permission) == ("access", None)
    assert "eu-west-1" in outage.sentence

    life.faults.calm()
    drive(life.world, exporter)

    life.expected.update()
    life.faults.reached[:] = [one for one in life.faults.reached if "_tailrace/" not in one.key]
    life.prove()


@pytest.mark.parametrize(
    ("header", "text"), [("x-amz-checksum-crc32", "AAAAAA=="), ("ETag", '"0123"')]
)
@pytest.mark.parametrize("operation", ["PutObject", "UploadPart", "CompleteMultipartUpload"])
@SLOW
def test_a_wrong_sum_in_an_answer_is_seen_through(
    life: Any, operation: str, header: str, text: str
) -> None:
    life.begin(SMALL, LARGE)
    rule = life.faults.play(operation, play.altered(play.header_set(header, text)))

    seen = drive(life.world, life.world.exporter())

    assert rule.met
    assert {kind for _, kind, _ in seen} <= {"temporary"}, seen
    life.prove()


@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
@SLOW
def test_a_store_that_holds_other_bytes_than_were_sent_is_no_success(
    life: Any, operation: str
) -> None:
    life.begin(LARGE if operation.startswith("Complete") else SMALL)
    wrong = play.altered(play.header_set("x-amz-checksum-crc32", "AAAAAA=="))
    life.faults.play(operation, wrong_sum_in_body if operation.startswith("Complete") else wrong)
    life.faults.play("HeadObject", wrong, nth=2 if operation.startswith("Complete") else 1)

    drive(life.world, life.world.exporter())

    run = life.world.run()
    assert (run.state, run.files_delivered) == ("conflict", 0)
    assert "CRC32 AAAAAA==" in run.cause.sentence
    assert life.faults.count("PutObject", "*_complete") == 0


def wrong_sum_in_body(exchange: Any) -> None:
    answer = exchange.pass_on()
    sum_ours = re.search(rb"<ChecksumCRC32>([^<]+)<", answer.body)
    assert sum_ours
    body = answer.body.replace(sum_ours[1], b"AAAAAA==")
    exchange.give(Answer(answer.status, answer.headers, body))


@pytest.mark.parametrize("change", [play.header_set("Content-Length", "17")])
def test_a_wrong_size_by_head_is_a_conflict_until_a_person_has_looked(
    life: Any, change: Callable[..., Any]
) -> None:
    life.begin(SMALL)
    life.faults.play("PutObject", play.lose_answer)
    life.faults.play("HeadObject", play.altered(change))

    drive(life.world, life.world.exporter())

    run = life.world.run()
    assert (run.state, run.files_delivered) == ("conflict", 0)
    assert life.world.ledger.send_again(life.destination.id, "events", life.world.hour)
    drive(life.world, life.world.exporter())
    life.prove()


@pytest.mark.parametrize(
    "theirs", [b"theirs", SMALL], ids=["other bytes", "ours, without metadata"]
)
def test_an_object_that_is_not_known_to_be_ours_stays_as_it_is(
    life: Any, owner: S3Client, theirs: bytes
) -> None:
    life.begin(SMALL)
    key = next(iter(life.expected))
    owner.put_object(Bucket=life.bucket, Key=key, Body=theirs)

    drive(life.world, life.world.exporter())

    run = life.world.run()
    assert (run.state, run.cause.key) == ("conflict", key)
    got = owner.get_object(Bucket=life.bucket, Key=key)
    assert (got["Body"].read(), got["Metadata"]) == (theirs, {})
    assert [one for one in life.faults.reached if one.ok and one.operation == "PutObject"] == []
    owner.delete_object(Bucket=life.bucket, Key=key)
    assert life.world.ledger.send_again(life.destination.id, "events", life.world.hour)
    drive(life.world, life.world.exporter())
    life.prove()
    assert hashlib.sha256(SMALL).hexdigest() in {one.sha256 for one in life.faults.reached}


def test_a_made_up_200_for_an_object_is_no_other_content(life: Any) -> None:
    """Where the store puts regardless of what is there, the object is looked for first."""
    life.begin(SMALL)
    less = Capabilities(conditional_put=False, conditional_complete=False, checksums=True)
    life.world.destinations.set_capabilities(life.destination.id, less)
    rule = life.faults.play("HeadObject", play.say(200, b""), times=3)

    seen = drive(life.world, life.world.exporter())

    assert rule.met
    assert {(kind, code) for _, kind, code in seen} == {("temporary", "Unconfirmed")}
    life.prove(conditional=False)
