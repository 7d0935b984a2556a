from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.cli.output import NEEDS_OPERATOR, WRONG_USE
from tailrace.export.policy import GRANTS

Run = Callable[..., Any]

ROLE = "arn:aws:iam::111122223333:role/tailrace"
PLACE = ("--bucket", "acme-events", "--region", "eu-west-1", "--prefix", "amplitude")


def test_a_policy_is_made_before_there_is_a_data_folder(run: Run) -> None:
    done = run("policy", *PLACE, "--principal", ROLE, "--format", "json")

    assert (done.code, done.err) == (0, "")
    statements = done.json()["Statement"]
    assert [one["Resource"] for one in statements] == [
        "arn:aws:s3:::acme-events",
        "arn:aws:s3:::acme-events/amplitude/*",
        "arn:aws:s3:::acme-events/amplitude/_tailrace/access-check-*",
    ]
    assert {one["Principal"]["AWS"] for one in statements} == {ROLE}


def test_the_operators_principal_is_the_default(run: Run) -> None:
    done = run("policy", *PLACE, "--format", "json", TAILRACE_AWS_PRINCIPAL_ARN=ROLE)
    assert done.json()["Statement"][0]["Principal"] == {"AWS": ROLE}


def test_to_read_it_comes_with_what_each_action_is_for(run: Run) -> None:
    done = run("policy", *PLACE, "--principal", ROLE)

    for grant in GRANTS:
        assert f"{grant.action:<25} {grant.why}\n" in done.out
    assert "s3://acme-events/amplitude/" in done.out
    assert "kms:GenerateDataKey and kms:Decrypt" in done.out


def test_what_the_policy_of_a_kms_key_needs_comes_as_an_addition(run: Run) -> None:
    key = "arn:aws:kms:eu-west-1:111122223333:alias/exports"
    asked = (*PLACE, "--principal", ROLE, "--kms-key", key)
    statement = run("policy", *asked, "--key", "--format", "json")
    assert statement.json()["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
    assert statement.json()["Principal"] == {"AWS": ROLE}
    # The bucket's own policy stays what a script may put.
    assert len(run("policy", *asked, "--format", "json").json()["Statement"]) == 3

    text = run("policy", *asked).out
    assert f"Add this to the policy of the KMS key {key}:\n\n{statement.out}" in text
    assert "If the bucket encrypts" not in text
    alone = run("policy", *asked, "--key").out
    assert statement.out in alone
    assert "s3:PutObject" not in alone
    lines = run("policy", *asked, "--format", "cli").out
    assert "aws s3api put-bucket-policy" in lines
    assert run("policy", *asked, "--key", "--format", "cli").out in lines


def test_lines_for_a_shell_hold_the_same_policy(run: Run) -> None:
    json = run("policy", *PLACE, "--principal", ROLE, "--format", "json").out
    lines = run("policy", *PLACE, "--principal", ROLE, "--format", "cli").out

    assert json in lines
    assert "aws s3api put-bucket-policy --bucket acme-events --region eu-west-1 " in lines


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--bucket"),
        (("--bucket", "acme-events"), "--region"),
        ((*PLACE,), "--principal"),
        (("1", *PLACE, "--principal", ROLE), "not both"),
        ((*PLACE, "--principal", "tailrace"), "principal"),
        ((*PLACE, "--principal", ROLE.replace("aws", "aws-cn", 1)), "partition aws-cn"),
        ((*PLACE, "--principal", ROLE, "--prefix", "a/../b"), "prefix"),
        ((*PLACE, "--principal", ROLE, "--bucket", "Acme"), "bucket"),
        ((*PLACE, "--principal", ROLE, "--region", "EU"), "region"),
        ((*PLACE, "--principal", ROLE, "--endpoint-url", "ftp://x"), "endpoint"),
        ((*PLACE, "--principal", ROLE, "--key"), "--kms-key"),
        ((*PLACE, "--principal", ROLE, "--kms-key", "alias/exports"), "write its ARN"),
        (
            (*PLACE, "--principal", ROLE, "--kms-key", "arn:aws:kms:eu-west-2:111122223333:key/1"),
            "it lies in eu-west-2",
        ),
    ],
)
def test_what_can_not_be_is_refused_by_its_name(
    run: Run, words: tuple[str, ...], named: str
) -> None:
    done = run("policy", *words, "--format", "json")
    assert done.code == WRONG_USE
    assert done.out == ""
    assert named in done.err


def test_a_stored_destination_needs_only_its_number_and_a_keys_user(
    run: Run, tmp_path: Path
) -> None:
    assert run("policy", "1").code == NEEDS_OPERATOR
    project = run("init", "--json").json()["project_id"]
    (tmp_path / "secret").write_text("hidden-secret\n")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    run(
        *("destination", "add", "amazon-s3", "--project", str(project), *PLACE),
        *("--endpoint-url", f"http://127.0.0.1:{port}"),
        *("--access-key-id", "AK", "--secret-access-key-file", str(tmp_path / "secret")),
    )

    refused = run("policy", "1", "--format", "json", TAILRACE_AWS_PRINCIPAL_ARN=ROLE)
    assert refused.code == WRONG_USE
    assert "access key AK" in refused.err
    user = "arn:aws:iam::acme:user/exporter"
    found = run("policy", "1", "--principal", user, "--format", "json").json()["Statement"]
    assert found[1]["Principal"] == {"AWS": user}
    assert found[1]["Resource"] == "arn:aws:s3:::acme-events/amplitude/*"
    assert f"--endpoint-url http://127.0.0.1:{port} " in (
        run("policy", "1", "--principal", user, "--format", "cli").out
    )
    assert run("policy", "2").code == WRONG_USE
