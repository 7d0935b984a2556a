"""The policy that is printed, on servers that enforce policies: enough, and nothing too much.

The same tests run on SeaweedFS and on Ceph's gateway; where one of them does not ask the policy for
an action, its test is skipped there with that reason and runs on the other.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tailrace.demo import seaweed
from tailrace.export import policy
from tailrace.export.client import Clients
from tailrace.export.verify import access_check_key, verify
from tailrace.state.delivery import Capabilities, Destination
from tests.export.policies.conftest import ACTIONS, BOTH, without

# What a server does not ask of a policy, whatever is in it.
NOT_ASKED = {
    ("seaweedfs", "s3:AbortMultipartUpload"): (
        "SeaweedFS asks no policy before it aborts an upload; Ceph's gateway does"
    ),
    ("ceph", "s3:GetObject"): (
        "Ceph's gateway lets whoever put an object read it; SeaweedFS asks the policy"
    ),
}


def litter(enforcing: Any, bucket: str) -> list[str]:
    owner = enforcing.client(enforcing.owner)
    objects = owner.list_objects_v2(Bucket=bucket).get("Contents", [])
    uploads = owner.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [one["Key"] for one in (*objects, *uploads)]


def test_the_printed_policy_passes_every_probe_and_leaves_nothing(
    enforcing: Any, place: policy.Place, there: Destination, clients: Clients
) -> None:
    enforcing.put_document(place.bucket, policy.as_json(policy.bucket_policy(place)))

    found = verify(there, clients)

    assert found.passed, found.steps
    assert found.missing_actions == ()
    assert found.left_behind == ()
    assert litter(enforcing, place.bucket) == []
    # Ceph takes these two and does not heed them.
    heeds = isinstance(enforcing, seaweed.Seaweed)
    assert found.capabilities == Capabilities(
        conditional_put=True, conditional_complete=heeds, checksums=heeds
    )


@pytest.mark.parametrize(
    ("enforcing", "action"),
    [
        pytest.param(
            server,
            action,
            marks=[pytest.mark.skip(reason=NOT_ASKED[server, action])]
            if (server, action) in NOT_ASKED
            else [],
        )
        for server in BOTH
        for action in ACTIONS
    ],
    indirect=["enforcing"],
)
def test_without_any_one_action_the_probes_fail_and_name_exactly_that(
    enforcing: Any, place: policy.Place, there: Destination, clients: Clients, action: str
) -> None:
    enforcing.put_document(place.bucket, without(place, action))

    found = verify(there, clients)

    assert not found.passed
    assert found.missing_actions == (action,)
    cause = found.cause
    assert cause is not None
    assert (cause.kind, cause.permission, cause.status) == ("access", action, 403)

    # The statement to add is what was missing, and with it all is well.
    added = policy.statements(place, found.missing_actions)
    mended = msgspec.json.decode(without(place, action), type=policy.Policy)
    mended = msgspec.structs.replace(mended, statement=(*mended.statement, *added))
    enforcing.put_document(place.bucket, policy.as_json(mended))
    assert verify(there, clients).passed
    # What could not be removed for want of its right is of the run before.
    key = access_check_key(there)
    left = {"s3:AbortMultipartUpload": [key]}.get(action, [])
    assert litter(enforcing, place.bucket) == left


def test_a_bucket_without_a_policy_is_short_of_all_that_can_be_tried(
    enforcing: Any, place: policy.Place, there: Destination, clients: Clients
) -> None:
    found = verify(there, clients)

    assert found.missing_actions == ("s3:ListBucket", "s3:PutObject")
    assert {step.outcome for step in found.steps} == {"missing", "not tried"}


def test_the_policy_ends_at_its_prefix(
    enforcing: Any, place: policy.Place, there: Destination, clients: Clients
) -> None:
    enforcing.put_document(place.bucket, policy.as_json(policy.bucket_policy(place)))

    beside = verify(msgspec.structs.replace(there, prefix="exports-of-others/"), clients)

    assert beside.missing_actions == ("s3:PutObject",)
