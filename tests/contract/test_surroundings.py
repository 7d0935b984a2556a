"""Commands and deliveries in an environment that would lead every request elsewhere.

All it names is one listener, the trap: whoever believes any of it is caught there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.clock import SteppedClock
from tailrace.demo import seaweed
from tailrace.files import Files
from tailrace.hours import HOUR_MICROS, Hour

# Each starts processes, and most an S3 server, which takes seconds on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HOUR = Hour.parse("2026-11-23T07")
NOW = "2026-11-23T09:10:00"
PREFIX = "raw/"
_TURN_SECONDS = 0.2
_TURNS_MAX = 300


class Trap:
    """A listener that answers nothing, counts who comes, and the environment that leads there."""

    def __init__(self, folder: Path) -> None:
        self.caught = 0
        self.ran = folder / "credential-process-ran"
        self._listening = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        config, credentials = folder / "aws-config", folder / "aws-credentials"
        config.write_text(
            f"[default]\nregion = hostile-1\nendpoint_url = {url}\n"
            f"[profile hostile]\nregion = hostile-1\nendpoint_url = {url}\n"
            f"credential_process = touch {self.ran}\n"
        )
        credentials.write_text(
            "[default]\naws_access_key_id = AKIDHOSTILE\naws_secret_access_key = hostile\n"
        )
        elsewhere = (
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL_STS",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            *("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
        )
        self.environment = dict.fromkeys(elsewhere, url) | {
            "AWS_PROFILE": "hostile",
            "AWS_REGION": "hostile-1",
            "AWS_DEFAULT_REGION": "hostile-1",
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_CA_BUNDLE": "/nonexistent/hostile",
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
            "AWS_USE_FIPS_ENDPOINT": "true",
            "NO_PROXY": "",
            "no_proxy": "",
        }
        self._thread = threading.Thread(target=self._catch)
        self._thread.start()

    def _catch(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            self.caught += 1
            caller.close()

    def close(self) -> None:
        # Closing alone would leave the thread in its `accept`.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    set_up = Trap(tmp_path)
    yield set_up
    set_up.close()


class Added(msgspec.Struct, frozen=True):
    """A destination that was added amid hostile variables, and the data folder that owes it."""

    answer: dict[str, Any]
    bucket: str
    project: int
    data: Path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tailrace", *words]


@pytest.fixture
def added(install: Any, server: seaweed.Seaweed, trap: Trap, tmp_path: Path) -> Added:
    """A sealed hour, and then a destination that it is owed to."""
    clock = SteppedClock(HOUR.start_micros, 1)
    installation = install(clock)
    installation.folder.fix_clock(NOW, Files())
    installation.post({"event_type": "Opened", "device_id": "device-1"})
    installation.stop()
    clock.advance(HOUR_MICROS)
    installation.serve()
    installation.post({"event_type": "Opened", "device_id": "device-1"})
    installation.stop()
    with installation.processed() as processed:
        processed.seal()
    bucket = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(bucket)
    server.put_policy(bucket, seaweed.export_policy(PREFIX))
    secret = tmp_path / "secret"
    secret.write_text(server.exporter.secret_access_key)
    options = {
        "--data": str(installation.folder.path),
        "--project": str(installation.project),
        "--bucket": bucket,
        "--region": seaweed.REGION,
        "--prefix": PREFIX,
        "--endpoint-url": server.endpoint_url,
        "--access-key-id": server.exporter.access_key_id,
        "--secret-access-key-file": str(secret),
    }
    words = [word for option in options.items() for word in option]
    done = subprocess.run(
        command("destination", "add", "amazon-s3", *words, "--json"),
        env=os.environ | trap.environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Added(json.loads(done.stdout), bucket, installation.project, installation.folder.path)


def test_a_destination_is_probed_at_its_own_endpoint_only(added: Added, trap: Trap) -> None:
    assert added.answer["passed"]
    assert added.answer["destination"]["state"] == "active"
    assert trap.caught == 0
    assert not trap.ran.exists()


def test_an_hour_is_delivered_to_its_own_endpoint_only(
    added: Added, trap: Trap, server: seaweed.Seaweed
) -> None:
    owner = server.client(server.owner)
    name = f"{added.project}_2026-11-23_7"

    def keys() -> set[str]:
        listed = owner.list_objects_v2(Bucket=added.bucket).get("Contents", [])
        return {one["Key"] for one in listed}

    exporter = subprocess.Popen(
        command("run", "exporter", "--data", str(added.data)), env=os.environ | trap.environment
    )
    try:
        marker = f"{PREFIX}{added.project}/{name}_complete"
        turn_until(exporter, lambda: marker in keys())
        exporter.terminate()
        assert exporter.wait(60) == 0
    finally:
        if exporter.poll() is None:
            exporter.kill()
        exporter.wait()

    assert {
        f"{PREFIX}{added.project}/{name}#1.json.gz",
        f"{PREFIX}_manifests/{added.project}/{name}.json",
    } <= keys()
    assert trap.caught == 0
    assert not trap.ran.exists()


def turn_until(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    for _ in range(_TURNS_MAX):
        if reached():
            return
        try:
            process.wait(_TURN_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail("the exporter ended by itself")
    pytest.fail("the hour was not delivered in time")


def test_whoever_believes_the_environment_is_caught(trap: Trap) -> None:
    believer = "import boto3; boto3.client('s3').list_buckets()"

    def run(**changes: str) -> None:
        subprocess.run(
            [sys.executable, "-c", believer],
            env=os.environ | trap.environment | changes,
            capture_output=True,
            check=False,
            timeout=90,
        )

    run()
    assert trap.ran.exists()
    run(AWS_PROFILE="default", AWS_MAX_ATTEMPTS="1", AWS_USE_FIPS_ENDPOINT="false")
    assert trap.caught > 0
