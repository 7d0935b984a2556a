"""The policy's text, and the shell lines that put it, run by a real shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.demo import seaweed
from tailrace.errors import BadRequest
from tailrace.export import policy
from tailrace.export.client import Clients
from tailrace.export.key_policy import key_lines
from tailrace.export.verify import verify
from tailrace.state.delivery import Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

ROLE = "arn:aws:iam::111122223333:role/tailrace"


def acme(**changes: Any) -> policy.Place:
    given: dict[str, Any] = {
        "bucket": "acme-events",
        "prefix": "amplitude/",
        "principal": ROLE,
        "region": "eu-west-1",
    }
    return policy.place(**given | changes)


def document(at: policy.Place) -> Any:
    return json.loads(policy.as_json(policy.bucket_policy(at)))


def test_each_statement_names_exactly_the_bucket_or_the_prefix_and_the_principal() -> None:
    found = document(acme())

    assert found["Version"] == "2012-10-17"
    assert [(one["Action"], one["Resource"]) for one in found["Statement"]] == [
        (["s3:ListBucket"], "arn:aws:s3:::acme-events"),
        (
            ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"],
            "arn:aws:s3:::acme-events/amplitude/*",
        ),
        (["s3:DeleteObject"], "arn:aws:s3:::acme-events/amplitude/_tailrace/access-check-*"),
    ]
    assert {one["Principal"]["AWS"] for one in found["Statement"]} == {ROLE}
    assert {one["Effect"] for one in found["Statement"]} == {"Allow"}


def test_without_a_prefix_the_objects_are_those_of_the_bucket() -> None:
    found = document(acme(prefix=""))
    assert [one["Resource"] for one in found["Statement"]] == [
        "arn:aws:s3:::acme-events",
        "arn:aws:s3:::acme-events/*",
        "arn:aws:s3:::acme-events/_tailrace/access-check-*",
    ]


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
    ],
)
def test_the_region_tells_the_partition_of_every_arn(region: str, partition: str) -> None:
    principal = f"arn:{partition}:iam::111122223333:user/tailrace"
    at = acme(region=region, principal=principal)

    for one in document(at)["Statement"]:
        assert one["Resource"].startswith(f"arn:{partition}:s3:::acme-events")
        assert one["Principal"]["AWS"] == principal
    account = acme(region=region, principal="111122223333")
    assert account.principal == f"arn:{partition}:iam::111122223333:root"


def test_a_store_that_is_not_amazons_uses_the_first_partition_whatever_its_region() -> None:
    elsewhere = policy.partition_of("cn-north-1", "https://s3.example.com")
    china = policy.partition_of("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn")
    assert (elsewhere, china) == ("aws", "aws-cn")


@pytest.mark.parametrize(
    ("principal", "rule"),
    [
        ("*", "ARN of a role or user"),
        ("", "ARN of a role or user"),
        ("arn:aws:iam::111122223333:role/*", "ARN of a role or user"),
        ('arn:aws:iam::111122223333:role/x"', "ARN of a role or user"),
        ("arn:aws:iam::111122223333:group/x", "ARN of a role or user"),
        ("arn:aws:iam::tenant:user/x", "twelve digits"),
        ("arn:aws-cn:iam::111122223333:role/x", "partition aws-cn"),
        (
            "arn:aws:sts::111122223333:assumed-role/tailrace/i-0123",
            "arn:aws:iam::111122223333:role/tailrace",
        ),
    ],
)
def test_a_principal_that_no_policy_should_name_is_refused_with_the_rule(
    principal: str, rule: str
) -> None:
    with pytest.raises(BadRequest, match=rule) as refused:
        acme(principal=principal)
    assert "principal" in str(refused.value)


def test_another_stores_users_may_belong_to_tenants_or_to_none() -> None:
    for principal in ("arn:aws:iam::acme:user/exporter", "arn:aws:iam:::user/exporter"):
        at = acme(principal=principal, endpoint_url="https://s3.example.com")
        assert at.principal == principal


def test_statements_of_two_prefixes_can_stand_in_one_policy() -> None:
    both = [document(acme(prefix=prefix))["Statement"] for prefix in ("one/", "two/")]
    sids = [one["Sid"] for statements in both for one in statements]
    assert len(set(sids)) == 6
    assert all(sid.isalnum() for sid in sids)


def test_the_statement_to_add_holds_the_missing_actions_alone() -> None:
    found = policy.statements(acme(), ["s3:DeleteObject", "s3:GetObject", "kms:Decrypt"])
    assert [(one.action, one.resource) for one in found] == [
        (("s3:GetObject",), "arn:aws:s3:::acme-events/amplitude/*"),
        (("s3:DeleteObject",), "arn:aws:s3:::acme-events/amplitude/_tailrace/access-check-*"),
    ]
    whole = {one.sid for one in policy.bucket_policy(acme()).statement}
    assert {one.sid for one in found} < whole


def test_every_action_says_what_it_is_for_and_the_lines_say_it_too() -> None:
    lines = policy.as_cli_lines(acme())
    for grant in policy.GRANTS:
        assert grant.why.endswith(".")
        assert f"# {grant.action}: {grant.why}\n" in lines


# What `aws` does for the two calls, with the answers of a real server.
AWS = """\
#!{python}
import argparse, os, sys
import boto3
from botocore.exceptions import ClientError

words = argparse.ArgumentParser()
words.add_argument("service", choices=["s3api"])
words.add_argument("call", choices=["get-bucket-policy", "put-bucket-policy"])
for option in ("bucket", "region", "endpoint-url"):
    words.add_argument("--" + option, required=True)
for option in ("query", "output", "policy"):
    words.add_argument("--" + option)
given = words.parse_args()
store = boto3.client("s3", region_name=given.region, endpoint_url=given.endpoint_url)
try:
    if given.call == "get-bucket-policy":
        assert (given.query, given.output) == ("Policy", "text")
        print(store.get_bucket_policy(Bucket=given.bucket)["Policy"])
    else:
        start, _, path = given.policy.partition("file://")
        assert start == ""
        store.put_bucket_policy(Bucket=given.bucket, Policy=open(path).read())
except ClientError as error:
    sys.exit(f"\\nan error occurred: {{error}}")
"""


def run_lines(lines: str, folder: Path, server: seaweed.Seaweed) -> str:
    program = folder / "aws"
    program.write_text(AWS.format(python=sys.executable))
    program.chmod(0o755)
    keys = {
        "AWS_ACCESS_KEY_ID": server.owner.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.owner.secret_access_key,
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["sh", "-eu"],
        input=lines,
        cwd=folder,
        env=os.environ | keys,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.slow  # two programs start, each with the service model of S3
def test_the_lines_give_a_bucket_its_policy_and_never_replace_one(
    server: seaweed.Seaweed,
    owner: S3Client,
    make_destination: Callable[..., Destination],
    clients: Clients,
    tmp_path: Path,
) -> None:
    name = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(name)
    destination = make_destination(name, prefix="it's $HOME `x`/")
    at = policy.place(
        bucket=name,
        prefix=destination.prefix,
        principal=seaweed.EXPORTER_ARN,
        region=seaweed.REGION,
        endpoint_url=server.endpoint_url,
    )
    assert not verify(destination, clients).passed

    assert run_lines(policy.as_cli_lines(at), tmp_path, server) == ""
    assert verify(destination, clients).passed

    before = owner.get_bucket_policy(Bucket=name)["Policy"]
    other = policy.place(
        bucket=name,
        prefix="other/",
        principal=seaweed.EXPORTER_ARN,
        region=seaweed.REGION,
        endpoint_url=server.endpoint_url,
    )
    said = run_lines(policy.as_cli_lines(other), tmp_path, server)
    assert "Nothing was changed" in said
    assert "aws s3api put-bucket-policy" in said
    assert owner.get_bucket_policy(Bucket=name)["Policy"] == before


KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234"
ALIAS = "arn:aws:kms:eu-west-1:111122223333:alias/exports"


def test_a_keys_statement_lets_the_principal_use_that_key_and_no_other() -> None:
    at = acme(kms_key=KEY)
    statement = json.loads(policy.as_json(policy.key_statement(at)))
    assert statement["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
    assert (statement["Principal"], statement["Resource"]) == ({"AWS": ROLE}, "*")
    other = policy.key_statement(acme(kms_key=KEY, principal=f"{ROLE}-2"))
    assert other.sid != statement["Sid"], "both can stand in one policy"
    # The bucket's policy is the same with a key and without, and other stores' keys have none.
    assert document(at) == document(acme())
    assert acme(kms_key="acme", endpoint_url="https://minio.example.com").kms_key == ""


@pytest.mark.parametrize("given", [KEY, ALIAS])
def test_a_keys_lines_show_what_to_add_and_put_nothing(tmp_path: Path, given: str) -> None:
    """The calls are played: there is no KMS on this machine."""
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(
        '#!/bin/sh\necho "$*" >> calls\ncase "$2" in\n'
        f"describe-key) echo {KEY} ;;\nget-key-policy) echo THE-POLICY ;;\nesac\n"
    )
    aws.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", key_lines(acme(kms_key=given))],
        cwd=tmp_path,
        env={"PATH": f"{aws.parent}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=True,
    )
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [one.split()[1] for one in calls] == (
        ["get-key-policy"] if given == KEY else ["describe-key", "get-key-policy"]
    )
    assert all("--region eu-west-1" in one for one in calls)
    assert f"--key-id {KEY} " in calls[-1]
    assert (tmp_path / "tailrace-key-policy.json").read_text() == "THE-POLICY\n"
    statement = policy.as_json(policy.key_statement(acme(kms_key=given)))
    assert (tmp_path / "tailrace-key-statement.json").read_text() == statement
    assert f"aws kms put-key-policy --region eu-west-1 --key-id {KEY} " in done.stdout


def test_the_page_on_destinations_has_the_same_reasons() -> None:
    page = (Path(__file__).parents[2] / "docs" / "destinations.md").read_text()
    for grant in policy.GRANTS:
        assert f"| `{grant.action}` | {grant.why} |\n" in page
    for action, why in policy.KEY_GRANTS:
        assert f"| `{action}` | {why} |\n" in page
