"""`verify` as people and scripts see it, on a bucket of a real server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.cli.output import FAILED
from tailrace.demo import seaweed

Run = Callable[..., Any]


@pytest.mark.slow  # some commands, each a process that makes an S3 client
def test_steps_are_printed_and_the_missing_action_is_named_until_it_is_there(
    run: Run, tmp_path: Path, server: seaweed.Seaweed
) -> None:
    bucket = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(bucket)
    allowed = seaweed.export_policy("raw/")
    server.put_policy(bucket, {**allowed, "s3:GetObject": ["elsewhere/*"]})
    project = run("init", "--json").json()["project_id"]
    (tmp_path / "secret").write_text(server.exporter.secret_access_key)

    added = run(
        *("destination", "add", "amazon-s3", "--project", str(project), "--bucket", bucket),
        *("--region", "us-east-1", "--prefix", "raw", "--endpoint-url", server.endpoint_url),
        *("--access-key-id", server.exporter.access_key_id),
        *("--secret-access-key-file", str(tmp_path / "secret")),
    )

    assert added.code == FAILED
    lines = added.out.splitlines()
    assert "ok         Find the bucket (HeadBucket, s3:ListBucket)" in lines
    assert "missing    Read it back (GetObject, s3:GetObject)" in lines
    assert "Missing: s3:GetObject" in lines
    assert lines[-1].endswith("stays setting up. Mend this, then: tailrace verify 1")

    server.put_policy(bucket, allowed)
    # SeaweedFS does not say where a bucket lies, so the region is what the person says.
    mended = run("verify", "1", "--region", "eu-west-1")
    assert mended.code == 0, mended.out
    assert "can        put only if absent" in mended.out
    assert "Destination 1 is active" in mended.out
    found = run("verify", "1", "--json").json()
    assert found["passed"] is True
    assert found["destination"]["region"] == "eu-west-1"
    assert len(found["verification"]["steps"]) == 8
