"""The statement to add is of exactly the missing actions, for whoever can add it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tailrace.notify.to_add import to_add
from tailrace.state.delivery import Cause, Destination

ROLE = "arn:aws:iam::111122223333:role/tailrace"
THEIRS = "arn:aws:iam::444455556666:role/export"


def cause(*missing: str, permission: str | None = None) -> Cause:
    return Cause("access", "AccessDenied", "No.", "Add it.", permission, missing_actions=missing)


def added(destination: Destination, why: Cause, principal: str = ROLE) -> list[tuple[str, Any]]:
    found = to_add(destination, why, principal)
    return [(one.where, json.loads(f"[{one.json}]")) for one in found]


@pytest.fixture
def plain(make_destination: Callable[..., Destination]) -> Destination:
    """A destination that the operator's own principal reaches."""
    return make_destination(
        "acme", access_key_id=None, secret_encrypted=None, endpoint_url=None, region="eu-west-1"
    )


def test_only_what_is_missing_is_to_be_added(plain: Destination) -> None:
    ((where, (statement,)),) = added(plain, cause("s3:PutObject"))
    assert where == "the policy of the bucket acme"
    assert statement["Action"] == ["s3:PutObject"]
    assert statement["Principal"] == {"AWS": ROLE}
    assert statement["Resource"] == "arn:aws:s3:::acme/exports/*"


def test_its_sid_is_not_one_of_the_whole_policy(plain: Destination) -> None:
    """S3 takes no Sid twice, and the policy has the others still."""
    from tailrace.export.policy import bucket_policy, place

    at = place(bucket="acme", prefix="exports/", principal=ROLE, region="eu-west-1")
    whole = {one.sid for one in bucket_policy(at).statement}
    everything = ("s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:DeleteObject")
    ((_, statements),) = added(plain, cause(*everything))
    assert len(statements) == 3
    assert not whole & {one["Sid"] for one in statements}
    assert all(one["Sid"].isalnum() for one in statements)


def test_what_a_refused_run_needed_counts_with_what_the_probes_found(plain: Destination) -> None:
    ((_, (statement,)),) = added(plain, cause("s3:GetObject", permission="s3:PutObject"))
    assert statement["Action"] == ["s3:PutObject", "s3:GetObject"]


def test_a_role_of_the_destinations_is_the_principal(
    make_destination: Callable[..., Destination],
) -> None:
    destination = make_destination("acme", access_key_id=None, role_arn=THEIRS)
    ((_, (statement,)),) = added(destination, cause("s3:PutObject"))
    assert statement["Principal"] == {"AWS": THEIRS}


def test_for_an_access_key_it_belongs_to_its_user(
    make_destination: Callable[..., Destination],
) -> None:
    destination = make_destination("acme", access_key_id="AKIA7Q2F")
    ((where, (statement,)),) = added(destination, cause("s3:PutObject"))
    assert where == "a policy of the user whose access key is AKIA7Q2F"
    assert set(statement) == {"Sid", "Effect", "Action", "Resource"}


@pytest.mark.parametrize("principal", ["", "nonsense"])
def test_without_a_principal_that_is_set_right_the_actions_are_named_all_the_same(
    plain: Destination, principal: str
) -> None:
    ((where, (statement,)),) = added(plain, cause("s3:PutObject"), principal)
    assert where == "a policy of the role or user that tailrace runs as"
    assert statement["Action"] == ["s3:PutObject"]


def test_of_a_key_it_belongs_into_the_keys_policy(plain: Destination) -> None:
    ((where, (statement,)),) = added(plain, cause(permission="kms:GenerateDataKey"))
    assert where == "the policy of the bucket's KMS key"
    assert statement["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
    own = msgspec.structs.replace(plain, encryption="aws:kms", kms_key_arn="arn:aws:kms:x")
    ((where, _),) = added(own, cause(permission="kms:GenerateDataKey"))
    assert where == "the policy of the KMS key arn:aws:kms:x"


def test_where_no_policy_is_the_reason_there_is_nothing_to_add(plain: Destination) -> None:
    assert added(plain, cause()) == []
    assert added(plain, cause(permission="sts:AssumeRole")) == []
