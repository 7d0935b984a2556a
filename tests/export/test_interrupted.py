"""Verifications that end in the middle, at each request in turn: what stays in the bucket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.export.client import Clients
from tailrace.export.verify import verify
from tailrace.state.delivery import Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

REQUESTS = 18


class Interrupting:
    """Makes clients whose user is interrupted while the answer to one of their requests comes in.

    The store has done what was asked, and whoever asked never sees how it ended.
    """

    def __init__(self, source: Clients, number: int, interruption: BaseException) -> None:
        self.calls: list[str] = []
        self._source = source
        self._number = number
        self._interruption = interruption

    def of(self, destination: Destination) -> S3Client:
        return self.open_in(destination, destination.region or "")

    def open_in(self, destination: Destination, region: str) -> S3Client:
        client = self._source.open_in(destination, region)
        client.meta.events.register("after-call.s3", self._answered)
        return client

    def _answered(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)
        if len(self.calls) == self._number:
            raise self._interruption


def uploads(owner: S3Client, bucket: str) -> list[str]:
    return [
        one["UploadId"] for one in owner.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    ]


@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interruption_at_any_request_leaves_nothing_that_can_be_known(
    destination: Destination,
    clients: Clients,
    owner: S3Client,
    keys: Callable[[], list[str]],
    number: int,
    interruption: BaseException,
) -> None:
    source = Interrupting(clients, number, interruption)

    with pytest.raises(type(interruption)):
        verify(destination, source)

    assert keys() == []
    left = uploads(owner, destination.bucket)
    # Of an upload whose beginning was not answered nobody knows the ID.
    assert len(left) == (source.calls[number - 1] == "CreateMultipartUpload")
    for upload_id in left:
        parts = owner.list_parts(
            Bucket=destination.bucket,
            Key="exports/_tailrace/access-check-1",
            UploadId=upload_id,
        )
        assert not parts.get("Parts")


def test_these_are_all_requests(destination: Destination, clients: Clients) -> None:
    source = Interrupting(clients, REQUESTS + 1, KeyboardInterrupt())
    assert verify(destination, source).passed
    assert len(source.calls) == REQUESTS


@pytest.mark.parametrize("code", [b"QuotaExceeded", b"InvalidAccessKeyId"])
def test_the_object_is_removed_also_where_a_later_step_ends_the_checks(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    keys: Callable[[], list[str]],
    code: bytes,
) -> None:
    proxy.add("POST", "uploads", answer=(403, b"<Error><Code>%s</Code></Error>" % code))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert found.steps[-1].call == "DeleteObject"
    assert found.steps[-1].outcome == "ok"
    assert found.left_behind == ()
    assert keys() == []


def test_an_object_that_stays_after_the_checks_have_ended_is_named(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    for method, holds in (("POST", "uploads"), ("DELETE", "access-check")):
        proxy.add(method, holds, answer=(403, b"<Error><Code>QuotaExceeded</Code></Error>"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert found.left_behind == (f"s3://{bucket}/exports/_tailrace/access-check-1",)


@pytest.mark.parametrize("number", [2, 3])
def test_an_upload_that_a_later_probe_could_not_give_up_is_named(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    owner: S3Client,
    number: int,
) -> None:
    for _ in range(number - 1):
        proxy.add("DELETE", "uploadId")
    proxy.add("DELETE", "uploadId", answer=(503, b"<Error><Code>SlowDown</Code></Error>"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    (upload_id,) = uploads(owner, bucket)
    assert not found.passed
    assert found.left_behind == (
        f"the multipart upload {upload_id} of s3://{bucket}/exports/_tailrace/access-check-1",
    )
