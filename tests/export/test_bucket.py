"""One object under a troubled network: lost answers, other writers, withdrawn rights."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.demo import seaweed
from tailrace.state.delivery import Capabilities

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1024**2
SLOW = pytest.mark.slow(reason="several parts of 16 MiB go through a real server")
DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)


def names_of(world: Any, number: int) -> str:
    return f"exports/{world.project}/{world.project}_2026-11-23_9#{number}.json.gz"


@pytest.mark.parametrize(
    ("size", "method", "holds"),
    [(len(DATA), "PUT", "%231.json.gz"), pytest.param(20 * MIB, "POST", "uploadId=", marks=SLOW)],
)
def test_a_lost_answer_to_the_last_request_ends_as_found(
    world: Any, bucket: str, proxy: Any, size: int, method: str, holds: str
) -> None:
    destination = world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(size)))
    proxy.add(method, holds, lose_answer=True)
    exporter = world.exporter()

    exporter.deliver_next()
    run = world.run()
    assert (run.state, run.cause.kind) == ("retrying", "temporary")

    world.wait(2)
    exporter.deliver_next()
    assert world.run().state == "success"
    (file,) = world.ledger.delivered_files(destination.id, "events", world.hour)
    assert file.how == "found"


@pytest.mark.parametrize(
    ("size", "method", "holds"),
    [
        (len(DATA), "PUT", "%231.json.gz"),
        (len(DATA), "PUT", "_complete"),
        pytest.param(20 * MIB, "POST", "uploadId=", marks=SLOW),
    ],
)
def test_a_200_that_names_no_object_is_not_believed(
    world: Any,
    bucket: str,
    proxy: Any,
    keys: Callable[[], list[str]],
    size: int,
    method: str,
    holds: str,
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(size)))
    proxy.add(method, holds, answer=(200, b""))
    exporter = world.exporter()

    exporter.deliver_next()
    assert (world.run().state, world.run().cause.kind) == ("retrying", "temporary")

    world.wait(2)
    exporter.deliver_next()
    assert world.run().state == "success"
    assert len(keys()) == 3


@SLOW
def test_a_lost_answer_to_a_part_begins_the_upload_anew_and_leaves_none_behind(
    world: Any, bucket: str, proxy: Any, owner: S3Client
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))
    proxy.add("PUT", "partNumber=2", lose_answer=True)
    exporter = world.exporter()

    exporter.deliver_next()
    assert len(owner.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1

    world.wait(2)
    exporter.deliver_next()
    assert world.run().state == "success"
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>m</Message></Error>"


@SLOW
def test_an_error_inside_a_200_from_complete_is_an_error(
    world: Any, bucket: str, proxy: Any, keys: Callable[[], list[str]]
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))
    proxy.add("POST", "uploadId=", answer=(200, ERROR % b"InternalError"))
    exporter = world.exporter()

    exporter.deliver_next()
    run = world.run()
    assert (run.state, run.cause.code) == ("retrying", "InternalError")
    assert keys() == []

    world.wait(2)
    exporter.deliver_next()
    assert world.run().state == "success"


@pytest.mark.parametrize(
    ("size", "method", "holds"),
    [(len(DATA), "PUT", "%231.json.gz"), pytest.param(20 * MIB, "POST", "uploadId=", marks=SLOW)],
)
def test_a_409_is_tried_again_within_the_same_try(
    world: Any, bucket: str, proxy: Any, size: int, method: str, holds: str, owner: S3Client
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(size)))
    for _ in range(2):
        proxy.add(method, holds, answer=(409, ERROR % b"ConditionalRequestConflict"))

    world.exporter().deliver_next()

    assert world.run().state == "success"
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_endless_409s_end_the_try_as_temporary(world: Any, bucket: str, proxy: Any) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))
    for _ in range(3):
        proxy.add("PUT", "%231.json.gz", answer=(409, ERROR % b"ConditionalRequestConflict"))

    world.exporter().deliver_next()

    assert (world.run().state, world.run().cause.kind) == ("retrying", "temporary")


@SLOW
def test_a_412_on_complete_from_a_writer_who_came_between_is_a_conflict(
    world: Any, bucket: str, proxy: Any, owner: S3Client
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))

    def come_between() -> None:
        owner.put_object(Bucket=bucket, Key=names_of(world, 1), Body=b"theirs")

    proxy.add("POST", "uploadId=", before=come_between)

    world.exporter().deliver_next()

    assert world.run().state == "conflict"
    got = owner.get_object(Bucket=bucket, Key=names_of(world, 1))
    assert got["Body"].read() == b"theirs"
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


@SLOW
def test_where_complete_has_no_condition_the_object_is_read_again(
    world: Any, bucket: str, proxy: Any, owner: S3Client
) -> None:
    capabilities = Capabilities(conditional_put=True, conditional_complete=False, checksums=True)
    world.add_destination(bucket, endpoint_url=proxy.url, capabilities=capabilities)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))

    def write_over_it() -> None:
        owner.put_object(Bucket=bucket, Key=names_of(world, 1), Body=b"theirs")

    proxy.add("HEAD", "%231.json.gz")
    proxy.add("HEAD", "%231.json.gz", before=write_over_it)

    world.exporter().deliver_next()

    assert world.run().state == "conflict"
    assert not [line for line in proxy.requests if line.endswith("_complete")]


@SLOW
@pytest.mark.parametrize(
    ("status", "code"), [(412, b"PreconditionFailed"), (409, b"ConditionalRequestConflict")]
)
def test_an_upload_that_may_not_be_aborted_is_not_forgotten(
    world: Any, bucket: str, proxy: Any, owner: S3Client, status: int, code: bytes
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))
    proxy.add("POST", "uploadId=", answer=(status, ERROR % code))
    proxy.add("DELETE", "uploadId=", answer=(403, ERROR % b"AccessDenied"))
    exporter = world.exporter()

    exporter.deliver_next()
    run = world.run()
    assert (run.state, run.cause.permission) == ("retrying", "s3:AbortMultipartUpload")

    world.wait(60)
    exporter.deliver_next()
    assert world.run().state == "success"
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")


@SLOW
def test_an_upload_that_someone_aborted_is_begun_anew(
    world: Any, bucket: str, proxy: Any, owner: S3Client
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))

    def abort_it() -> None:
        (upload,) = owner.list_multipart_uploads(Bucket=bucket)["Uploads"]
        owner.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    proxy.add("POST", "uploadId=", before=abort_it)

    world.exporter().deliver_next()

    assert world.run().state == "success"


@SLOW
def test_a_policy_withdrawn_between_two_parts_is_refused_access_and_no_upload_stays(
    world: Any, bucket: str, proxy: Any, owner: S3Client, server: seaweed.Seaweed
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))
    policy = seaweed.export_policy("exports/")
    del policy["s3:PutObject"]
    proxy.add("PUT", "partNumber=2", before=lambda: server.put_policy(bucket, policy))

    world.exporter().deliver_next()

    run = world.run()
    assert run.state == "retrying"
    assert (run.cause.kind, run.cause.permission) == ("access", "s3:PutObject")
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")
