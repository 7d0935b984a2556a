"""The proof from the bucket alone, and from what reached the server: exactly once, in order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.export.faults.exchange import Reached

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# A scope of time in which every schedule comes round several times.
HOURS_MAX = 12
_CREATING = {"PutObject", "CompleteMultipartUpload"}


def drive(world: Any, *exporters: Any, hours: int = HOURS_MAX) -> list[tuple[Any, ...]]:
    """Let the exporters work, and time pass from due to due, until nothing is owed.

    Return what each run was seen to be between two tries: state, cause's kind and code.
    """
    seen: list[tuple[Any, ...]] = []
    end = world.clock.now_micros() + hours * 3600 * 10**6
    while world.clock.now_micros() < end:
        for exporter in exporters:
            exporter.look_after()
            while exporter.deliver_next():
                pass
        owed = [run for run in world.ledger.runs() if run.state not in {"success", "conflict"}]
        seen += [(run.state, run.cause.kind, run.cause.code) for run in owed if run.cause]
        if not owed:
            return seen
        world.clock.advance(max(10**6, _next_due(world, owed) - world.clock.now_micros()))
    raise AssertionError(f"still owed after {hours} hours: {world.ledger.runs()}")


def _next_due(world: Any, owed: list[Any]) -> int:
    dues = [run.due_micros for run in owed if run.due_micros is not None]
    for run in owed:
        probe = world.destinations.get(run.destination_id).next_probe_micros
        if probe is not None:
            dues.append(probe)
    return min(dues, default=0)


def prove(
    owner: S3Client,
    bucket: str,
    expected: Mapping[str, bytes],
    reached: list[Reached],
    *,
    empty_uploads: int = 0,
    conditional: bool = True,
) -> None:
    """Check that the bucket holds exactly these objects, each created once and in order.

    `expected` has data files, manifests and markers by key; of manifests the bytes are not
    compared where they are empty. A Create whose answer is lost leaves an upload that nobody
    knows: `empty_uploads` says how many such may be there, without any part.
    """
    listed = owner.list_objects_v2(Bucket=bucket).get("Contents", [])
    assert sorted(one["Key"] for one in listed) == sorted(expected)
    for key, data in expected.items():
        got = owner.get_object(Bucket=bucket, Key=key)
        body = got["Body"].read()
        assert got["Metadata"] == {"tailrace-sha256": hashlib.sha256(body).hexdigest()}
        assert body == data or "/_manifests/" in key
    _prove_uploads(owner, bucket, empty_uploads)
    created = [one for one in reached if one.ok and one.operation in _CREATING]
    # Whoever asks again for a finished upload is told 200 once more by some servers.
    distinct = {(one.operation, one.key, one.upload_id, one.sha256) for one in created}
    assert Counter(one[1] for one in distinct) == dict.fromkeys(expected, 1)
    if conditional:
        assert [one for one in created if not one.conditional] == []
    assert [one for one in reached if one.operation == "DeleteObject"] == []
    _prove_order([one.key for one in created])


def _prove_uploads(owner: S3Client, bucket: str, empty_uploads: int) -> None:
    uploads = owner.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert len(uploads) <= empty_uploads
    for upload in uploads:
        parts = owner.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        assert not parts.get("Parts")


def _prove_order(keys: list[str]) -> None:
    """Check that each hour's manifest follows its files, and the marker all of them."""
    for marker in [key for key in keys if key.endswith("_complete")]:
        stem = marker.removesuffix("_complete").rpartition("/")[2]
        places = {key: at for at, key in enumerate(keys) if f"/{stem}" in key}
        files = [at for key, at in places.items() if f"/{stem}#" in key]
        (manifest,) = [at for key, at in places.items() if f"/{stem}.json" in key]
        assert max(files, default=-1) < manifest < places[marker]
