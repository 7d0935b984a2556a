"""The command for a policy that probes advise: it prints the policy of what was probed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.cli.output import FAILED
from tailrace.cli.verification import stored_policy, wanted_policy
from tailrace.demo import seaweed
from tailrace.settings import AwsSettings, Settings
from tests.destinations import AT_AMAZON

Run = Callable[..., Any]

OPERATOR = "arn:aws:iam::111122223333:role/operator"
ROLE = "arn:aws:iam::111122223333:role/lake"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234"
WANTED = msgspec.structs.replace(AT_AMAZON, name="Lake", bucket="acme-lake", prefix="")
BY_KEY = {"access_key_id": "AKIAIOSFODNN7EXAMPLE"}
AT_STORE = {"endpoint_url": "https://s3.example.com", "region": None, "prefix": "raw/it's new/"}


@pytest.mark.parametrize(
    ("at", "access", "principal_arn"),
    [
        ({}, {}, OPERATOR),
        ({"prefix": "raw/"}, {}, ""),
        ({"kms_key_arn": KEY}, {"role_arn": ROLE}, ""),
        (AT_STORE, BY_KEY, OPERATOR),
    ],
)
def test_it_can_be_pasted_for_what_was_not_kept(
    run: Run, at: dict[str, Any], access: dict[str, Any], principal_arn: str
) -> None:
    settings = Settings(aws=AwsSettings(principal_arn=principal_arn))
    wanted = msgspec.structs.replace(WANTED, **at, **access)

    program, *words = shlex.split(wanted_policy(wanted, settings))

    assert program == "tailrace"
    # Whose an access key is, and as whom tailrace runs, may be known to nobody but the reader.
    blank = "ARN" in words
    assert blank == bool(access == BY_KEY or not (access or principal_arn))
    pasted = [OPERATOR if word == "ARN" else word for word in words]
    done = run(*pasted, "--format", "json", TAILRACE_AWS_PRINCIPAL_ARN=principal_arn)
    assert (done.code, done.err) == (0, "")
    statements = done.json()["Statement"]
    assert statements[1]["Resource"] == f"arn:aws:s3:::acme-lake/{wanted.prefix}*"
    assert statements[1]["Principal"] == {"AWS": access.get("role_arn", OPERATOR)}
    if wanted.kms_key_arn:
        assert KEY in run(*pasted, TAILRACE_AWS_PRINCIPAL_ARN=principal_arn).out


def test_what_is_kept_is_named_by_its_number() -> None:
    known, unknown = Settings(aws=AwsSettings(principal_arn=OPERATOR)), Settings()
    role = msgspec.structs.replace(WANTED, role_arn=ROLE)
    key = msgspec.structs.replace(WANTED, access_key_id="AKIAIOSFODNN7EXAMPLE")
    assert stored_policy(WANTED, known) == "tailrace policy 1"
    assert stored_policy(WANTED, unknown) == "tailrace policy 1 --principal ARN"
    assert stored_policy(role, unknown) == "tailrace policy 1"
    assert stored_policy(key, known) == "tailrace policy 1 --principal ARN"


@pytest.mark.slow  # some commands, each a process that makes an S3 client
def test_add_edit_and_resume_each_advise_the_policy_of_what_they_probed(
    run: Run, tmp_path: Path, server: seaweed.Seaweed
) -> None:
    bucket = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(bucket)
    allowed = seaweed.export_policy("raw/")
    server.put_policy(bucket, {**allowed, "s3:PutObject": ["elsewhere/*"]})
    project = run("init", "--json").json()["project_id"]
    (tmp_path / "secret").write_text(server.exporter.secret_access_key)

    def advised(*words: str) -> list[str]:
        """Run what fails; return the resources in the policy that its advice prints."""
        done = run(*words)
        assert done.code == FAILED, done.out
        (line,) = [one for one in done.out.splitlines() if one.startswith("The whole policy: ")]
        program, *pasted = shlex.split(line.removeprefix("The whole policy: "))
        assert program == "tailrace"
        pasted = [server.exporter_arn if word == "ARN" else word for word in pasted]
        printed = run(*pasted, "--format", "json")
        assert printed.code == 0, printed.err
        return [one["Resource"] for one in printed.json()["Statement"]]

    def below(prefix: str) -> list[str]:
        arn = f"arn:aws:s3:::{bucket}"
        return [arn, f"{arn}/{prefix}*", f"{arn}/{prefix}_tailrace/access-check-*"]

    added = advised(
        *("destination", "add", "amazon-s3", "--project", str(project), "--bucket", bucket),
        *("--region", "us-east-1", "--prefix", "raw", "--endpoint-url", server.endpoint_url),
        *("--access-key-id", server.exporter.access_key_id),
        *("--secret-access-key-file", str(tmp_path / "secret")),
    )
    assert added == below("raw/")
    server.put_policy(bucket, allowed)
    assert run("verify", "1").code == 0

    assert advised("destination", "edit", "1", "--prefix", "raw2") == below("raw2/")
    assert run("destination", "show", "1", "--json").json()["destination"]["prefix"] == "raw/"

    run("pause", "1")
    server.put_policy(bucket, {**allowed, "s3:PutObject": ["elsewhere/*"]})
    assert advised("resume", "1") == below("raw/")
