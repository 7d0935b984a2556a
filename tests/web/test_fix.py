"""How it is mended: the policy of the bucket and that of a key, each where it is edited."""

from __future__ import annotations

from typing import Any

import msgspec

from tailrace.app.policy import place_of
from tailrace.settings import AwsSettings, Settings
from tailrace.state.delivery import Cause
from tailrace.web.fix import Fix, fix
from tests.web.hours import destination

ARN = "arn:aws:iam::111122223333:role/tailrace"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234"
SETTINGS = Settings(aws=AwsSettings(principal_arn=ARN))
ADD = "Add kms:GenerateDataKey and kms:Decrypt to the policy of the key."


def mended(*missing: str, **changes: Any) -> Fix:
    to = msgspec.structs.replace(destination(), **changes)
    cause = Cause(
        kind="access",
        code="AccessDenied",
        sentence="It was refused.",
        fix=ADD if missing[0].startswith("kms:") else "Add it.",
        permission=missing[0],
        missing_actions=missing,
    )
    return fix(to, cause, place_of(SETTINGS, to), ARN)


def test_a_key_that_may_not_be_used_is_mended_in_its_own_policy() -> None:
    found = mended("kms:GenerateDataKey", encryption="aws:kms", kms_key_arn=KEY)
    assert found.steps[:2] == (f"Open the console of KMS: {KEY}, Key policy, Edit.", ADD)
    assert not any("S3" in step for step in found.steps)
    assert found.policy == ()
    ((where, text),) = [(one.where, one.json) for one in found.to_add]
    assert where == f"the policy of the KMS key {KEY}"
    assert ARN in text


def test_what_is_missing_of_bucket_and_key_is_added_to_each() -> None:
    found = mended("s3:GetObject", "s3:PutObject", "kms:Decrypt")
    assert found.steps[1] == (
        "Add s3:GetObject, s3:PutObject to the policy of the bucket, without a Deny against them."
    )
    assert "Open the console of KMS: the key of the bucket's encryption" in found.steps[2]
    assert found.steps[3] == ADD
    assert found.policy
    assert [one.where for one in found.to_add] == ["the policy of the bucket's KMS key"]
    alone = mended("s3:PutObject")
    assert alone.steps[1] == "Add it."
    assert alone.to_add == ()
