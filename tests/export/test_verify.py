from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from tailrace.demo import seaweed
from tailrace.export.client import Clients
from tailrace.export.verify import Verification, access_check_key, verify
from tailrace.state.delivery import Capabilities, Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

CALLS = [
    "HeadBucket",
    "ListObjectsV2",
    "PutObject",
    "GetObject",
    "CreateMultipartUpload",
    "UploadPart",
    "AbortMultipartUpload",
    "DeleteObject",
]


def outcomes(found: Verification) -> dict[str, str]:
    return {step.call: step.outcome for step in found.steps}


def test_the_policy_that_an_export_needs_passes_every_probe_in_order(
    destination: Destination, clients: Clients, keys: Callable[[], list[str]]
) -> None:
    found = verify(destination, clients)

    assert found.passed, found.steps
    assert [step.call for step in found.steps] == CALLS
    assert found.missing_actions == ()
    assert found.capabilities == Capabilities(
        conditional_put=True, conditional_complete=True, checksums=True
    )
    assert found.left_behind == ()
    assert keys() == []


def test_the_six_actions_of_the_wizard_pass_too(
    server: seaweed.Seaweed, destination: Destination, clients: Clients
) -> None:
    everywhere = ["", "*"]
    actions = ("AbortMultipartUpload", "DeleteObject", "GetObject", "ListBucket")
    policy = {f"s3:{action}": everywhere for action in (*actions, "GetBucketLocation", "PutObject")}
    server.put_policy(destination.bucket, policy)

    assert verify(destination, clients).passed


@pytest.mark.parametrize(
    ("action", "refused", "not_tried"),
    [
        ("s3:ListBucket", {"HeadBucket", "ListObjectsV2"}, set()),
        (
            "s3:PutObject",
            {"PutObject", "CreateMultipartUpload"},
            {"GetObject", "UploadPart", "AbortMultipartUpload", "DeleteObject"},
        ),
        ("s3:GetObject", {"GetObject"}, set()),
        ("s3:DeleteObject", {"DeleteObject"}, set()),
    ],
)
def test_a_missing_action_is_named_and_no_other(
    server: seaweed.Seaweed,
    destination: Destination,
    clients: Clients,
    action: str,
    refused: set[str],
    not_tried: set[str],
) -> None:
    policy = seaweed.export_policy(destination.prefix)
    del policy[action]
    server.put_policy(destination.bucket, policy)

    found = verify(destination, clients)

    assert not found.passed
    assert found.missing_actions == (action,)
    assert {call for call, outcome in outcomes(found).items() if outcome == "missing"} == refused
    left = {call for call, outcome in outcomes(found).items() if outcome == "not tried"}
    assert left == not_tried
    cause = found.cause
    assert cause is not None
    assert cause.permission == action
    assert cause.status == 403
    assert cause.request_id
    assert action in cause.fix


@pytest.mark.skip(reason="SeaweedFS lets anyone abort an upload: it does not ask the policy")
def test_a_missing_abort_right_is_named() -> None:
    raise NotImplementedError


def test_several_missing_actions_are_all_named(
    server: seaweed.Seaweed, destination: Destination, clients: Clients
) -> None:
    policy = seaweed.export_policy(destination.prefix)
    server.put_policy(destination.bucket, {"s3:PutObject": policy["s3:PutObject"]})

    found = verify(destination, clients)

    assert found.missing_actions == ("s3:ListBucket", "s3:GetObject", "s3:DeleteObject")


def test_an_object_that_may_not_be_deleted_is_said_to_stay_and_is_overwritten_next_time(
    server: seaweed.Seaweed,
    destination: Destination,
    clients: Clients,
    keys: Callable[[], list[str]],
) -> None:
    policy = seaweed.export_policy(destination.prefix)
    allowed = policy.pop("s3:DeleteObject")
    server.put_policy(destination.bucket, policy)
    key = access_check_key(destination)

    assert verify(destination, clients).left_behind == (f"s3://{destination.bucket}/{key}",)
    assert keys() == [key]

    server.put_policy(destination.bucket, {**policy, "s3:DeleteObject": allowed})
    assert verify(destination, clients).passed
    assert keys() == []


def test_the_probes_touch_nothing_but_their_own_key(
    destination: Destination, clients: Clients, owner: S3Client, keys: Callable[[], list[str]]
) -> None:
    owner.put_object(Bucket=destination.bucket, Key="exports/187520/theirs", Body=b"theirs")

    verify(destination, clients)

    assert keys() == ["exports/187520/theirs"]
    assert not owner.list_multipart_uploads(Bucket=destination.bucket).get("Uploads")


def test_a_refused_key_ends_the_probes_and_blames_no_policy(
    destination: Destination, clients: Clients
) -> None:
    wrong = msgspec.structs.replace(destination, secret_encrypted=b"not the secret")

    found = verify(wrong, clients)

    assert found.missing_actions == ()
    assert set(outcomes(found).values()) == {"settings", "not tried"}
    assert outcomes(found)["HeadBucket"] == "settings"
    assert outcomes(found)["DeleteObject"] == "not tried"
    assert found.cause is not None
    assert found.cause.code == "SignatureDoesNotMatch"
    assert "not the secret" not in str(found)


def test_a_store_that_can_not_be_reached_is_temporary(
    destination: Destination, clients: Clients
) -> None:
    gone = msgspec.structs.replace(destination, endpoint_url="http://127.0.0.1:1")

    found = verify(gone, clients)

    assert not found.passed
    assert outcomes(found)["HeadBucket"] == "temporary"
    assert outcomes(found)["PutObject"] == "not tried"
