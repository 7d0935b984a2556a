"""A death at each named point, and what the next holder makes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tailrace import killpoints
from tailrace.export.deliver import LEASE_SECONDS

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1024**2
SLOW = pytest.mark.slow(reason="several parts of 16 MiB go through a real server")


class Died(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


@pytest.mark.parametrize("size", [100, pytest.param(40 * MIB, marks=SLOW)])
@pytest.mark.parametrize(
    "point",
    [
        "export.put",
        "export.part",
        "export.completed",
        "export.manifest",
        "ledger.file_delivered",
        "ledger.succeeded",
    ],
)
def test_a_death_at_a_point_leaves_every_object_once_and_no_upload(
    world: Any,
    bucket: str,
    owner: S3Client,
    keys: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    size: int,
) -> None:
    if size < MIB and point in {"export.part", "export.completed"}:
        pytest.skip("only an upload in parts reaches this point")
    world.add_destination(bucket)
    datas = [os.urandom(size), os.urandom(50)]
    world.seal(*[world.put_file(number, data) for number, data in enumerate(datas, start=1)])

    def die(name: str) -> None:
        if name == point:
            raise Died(name)

    with monkeypatch.context() as patched:
        patched.setattr(killpoints, "reached", die)
        with pytest.raises(Died):
            world.exporter().deliver_next()

    world.wait(LEASE_SECONDS + 1)
    world.exporter().deliver_next()

    run = world.run()
    assert (run.state, run.files_delivered) == ("success", 2)
    assert len(keys()) == 4
    assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")
    for number, data in enumerate(datas, start=1):
        key = f"exports/{world.project}/{world.project}_2026-11-23_9#{number}.json.gz"
        assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() == data
