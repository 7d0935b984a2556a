"""Answers and requests that are lost on the way: whoever asks again finds what was done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.export.faults import play
from tests.export.faults.conftest import LARGE, SMALL
from tests.export.faults.proof import drive
from tests.export.faults.proxy import Fault

OPERATIONS = [
    "HeadObject",
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
]
SLOW = pytest.mark.slow(reason="several megabytes go through a real server, more than once")


@pytest.mark.parametrize(
    "fault",
    [
        play.lose_answer,
        play.lose_request,
        play.cut_headers,
        play.cut_body,
        play.reset,
        play.half_close,
    ],
    ids=lambda fault: fault.__name__,
)
@pytest.mark.parametrize("operation", OPERATIONS)
@SLOW
def test_one_lost_in_each_operation_delays_and_changes_nothing(
    life: Any, operation: str, fault: Fault
) -> None:
    life.begin(SMALL, LARGE)
    rule = life.faults.play(operation, fault)

    seen = drive(life.world, life.world.exporter())

    assert rule.met
    assert {kind for _, kind, _ in seen} <= {"temporary"}, seen
    assert len(seen) <= 2
    life.prove(empty_uploads=int(operation.startswith("Create")))


@pytest.mark.parametrize(
    "text", [b"content-length", b"x-amz-meta", b"tailrace-sha256", b"\r\n\r\n"]
)
def test_a_look_at_our_object_that_is_cut_short_is_no_conflict(life: Any, text: bytes) -> None:
    life.begin(SMALL)
    life.faults.play("PutObject", play.lose_answer)
    rule = life.faults.play("HeadObject", play.cut_before(text))

    seen = drive(life.world, life.world.exporter())

    assert rule.met
    assert [kind for _, kind, _ in seen] == ["temporary", "temporary"]
    life.prove()


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_each_lost_put_of_file_manifest_and_marker_is_found(life: Any, nth: int) -> None:
    life.begin(SMALL)
    life.faults.play("PutObject", play.lose_answer, nth=nth)

    seen = drive(life.world, life.world.exporter())

    assert seen == [("retrying", "temporary", "ConnectionClosedError")]
    life.prove()


@SLOW
@pytest.mark.parametrize("operation", ["PutObject", "UploadPart"])
def test_a_body_lost_half_way_is_sent_again(life: Any, operation: str) -> None:
    life.begin(SMALL, LARGE)
    life.faults.play(operation, play.lose_half_the_body)

    seen = drive(life.world, life.world.exporter())

    assert [kind for _, kind, _ in seen] == ["temporary"]
    life.prove()


@SLOW
@pytest.mark.parametrize("fault", [play.lose_answer, play.lose_request, play.cut_headers])
def test_a_lost_answer_to_abort_is_asked_for_again(life: Any, fault: Fault) -> None:
    life.begin(LARGE)
    life.faults.play("UploadPart", play.refuse(500, "InternalError"), nth=2)
    rule = life.faults.play("AbortMultipartUpload", fault)

    seen = drive(life.world, life.world.exporter())

    assert rule.met == 2, "the first was lost, so that the next holder asked again"
    assert {kind for _, kind, _ in seen} == {"temporary"}
    life.prove()
