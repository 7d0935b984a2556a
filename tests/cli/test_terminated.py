"""SIGTERM while a command probes: the bucket is as before, and the exit code is the signal's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.cli.terminated import TERMINATED, ending_in_order
from tailrace.demo import seaweed
from tailrace.demo.surroundings import clean
from tests.export.conftest import Proxy

Run = Callable[..., Any]


@pytest.fixture
def proxy(server: seaweed.Seaweed) -> Iterator[Proxy]:
    made = Proxy(server.endpoint_url)
    yield made
    made.close()


@pytest.mark.slow  # a dozen commands, each a process that makes an S3 client
def test_each_command_that_probes_cleans_up_before_it_ends(
    run: Run, data: Path, tmp_path: Path, server: seaweed.Seaweed, proxy: Proxy
) -> None:
    bucket = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(bucket)
    old, new = seaweed.export_policy("raw/"), seaweed.export_policy("new/")
    server.put_policy(bucket, {action: [*old[action], *new[action]] for action in old})
    owner = server.client(server.owner)
    project = run("init", "--json").json()["project_id"]
    (tmp_path / "secret").write_text(server.exporter.secret_access_key)

    def terminate(*words: str, method: str = "GET", holds: str = "access-check") -> None:
        """Send SIGTERM while such a request is under way."""
        began: list[subprocess.Popen[bytes]] = []
        proxy.add(method, holds, before=lambda: began[0].send_signal(signal.SIGTERM))
        began.append(
            subprocess.Popen(
                [sys.executable, "-m", "tailrace", *words],
                env=clean(os.environ) | {"TAILRACE_DATA": str(data)},
                stdout=subprocess.DEVNULL,
            )
        )
        assert began[0].wait(60) == TERMINATED
        assert "Contents" not in owner.list_objects_v2(Bucket=bucket)
        assert "Uploads" not in owner.list_multipart_uploads(Bucket=bucket)

    terminate(
        *("destination", "add", "amazon-s3", "--project", str(project), "--bucket", bucket),
        *("--region", "us-east-1", "--prefix", "raw", "--endpoint-url", proxy.url),
        *("--access-key-id", server.exporter.access_key_id),
        *("--secret-access-key-file", str(tmp_path / "secret")),
    )
    terminate("verify", "1")
    terminate("verify", "1", method="PUT", holds="partNumber")
    assert run("verify", "1").code == 0
    terminate("destination", "edit", "1", "--prefix", "new")
    assert run("pause", "1").code == 0
    terminate("resume", "1")
    assert run("destination", "show", "1", "--json").json()["destination"]["state"] == "paused"


def test_what_sigterm_did_before_it_does_again() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, ending_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == TERMINATED == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_sigterm_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ending_in_order():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
