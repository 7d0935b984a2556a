"""A whole service on a stepped-back clock, a real bucket, a load that remembers, and the proof."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import string
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tailrace.clock import MICROS
from tailrace.demo import seaweed
from tailrace.demo.seaweed import Seaweed
from tailrace.demo.surroundings import clean
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.ops.heartbeats import read_heartbeats
from tailrace.seal.proof import check_chain

BUCKET = "acme"
PREFIX = "raw/"
# From the start of the service to the hour's end: a busy machine needs most of it to come up.
HOUR_END_SECONDS = 30
CLOCK_START = "2026-03-01T09:59:30"
HOUR = Hour.parse("2026-03-01T09")
# Requests end so long before the hour does, so that every answer belongs to it.
QUIET_SECONDS = 2
WAIT_SECONDS = 75
POLL_SECONDS = 0.1


class Rig:
    """One service with one project and one destination."""

    def __init__(self, folder: Path, s3: Seaweed, bucket: str, settings: dict[str, str]) -> None:
        self.data = folder / "data"
        self.bucket = bucket
        self.s3 = s3
        self._folder = folder
        self._environment = clean(os.environ) | settings
        self._serving: subprocess.Popen[bytes] | None = None
        made = json.loads(self.run("init", "--json"))
        self.project = made["project_id"]
        self.api_key = made["api_key"]
        s3.create_bucket(bucket)
        s3.put_policy(bucket, seaweed.export_policy(PREFIX))

    def run(self, *words: str) -> str:
        command = [sys.executable, "-m", "tailrace", *words, "--data", str(self.data)]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.decode()

    def serve(self, kill_at: str = "") -> None:
        environment = self._environment | ({"TAILRACE_KILL_AT": kill_at} if kill_at else {})
        with (self._folder / "serve.err").open("ab") as errors:
            self._serving = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tailrace", "serve", "--data", str(self.data)),
                    *("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"),
                    *("--clock-start", CLOCK_START),
                ],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def add_destination(self) -> None:
        secret = self._folder / "secret"
        secret.write_text(self.s3.exporter.secret_access_key)
        self.run(
            *("destination", "add", "amazon-s3", "--project", str(self.project)),
            *("--bucket", self.bucket, "--region", seaweed.REGION, "--prefix", PREFIX),
            *("--endpoint-url", self.s3.endpoint_url),
            *("--access-key-id", self.s3.exporter.access_key_id),
            *("--secret-access-key-file", str(secret)),
        )

    def collector(self) -> tuple[str, int]:
        """Return where events go, once the service has said so."""
        url = self.wait_for(self._collect_url)
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def _collect_url(self) -> str | None:
        for beat in read_heartbeats(DataFolder(self.data).run):
            if beat.part == "serve":
                return beat.facts["collect"]
        return None

    def seconds_left(self) -> float:
        return (HOUR.end_micros - DataFolder(self.data).clock().now_micros()) / MICROS

    def processes(self) -> dict[str, int]:
        return {beat.part: beat.process for beat in read_heartbeats(DataFolder(self.data).run)}

    def deaths(self) -> list[str]:
        lines = (self._folder / "serve.err").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event["died"] for event in events if event["event"] == "part_died"]

    def errors(self) -> str:
        return (self._folder / "serve.err").read_text()

    def wait_for(self, look: Callable[[], Any]) -> Any:
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            assert self._serving is None or self._serving.poll() is None, self.errors()
            found = look()
            if found:
                return found
            threading.Event().wait(POLL_SECONDS)
        pytest.fail(f"nothing came within {WAIT_SECONDS} s: {self.errors()[-3000:]}")

    def stop(self) -> int:
        if self._serving is None:
            return 0
        self._serving.terminate()
        code = self._serving.wait(15)
        self._serving = None
        return code

    def end(self) -> None:
        if self._serving is not None and self._serving.poll() is None:
            for process in self.processes().values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._serving.kill()
            self._serving.wait()

    # What the owner of the bucket sees.

    def keys(self) -> list[str]:
        client = self.s3.client(self.s3.owner)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def body(self, key: str) -> bytes:
        client = self.s3.client(self.s3.owner)
        return client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def wait_for_marker(self) -> None:
        marker = f"{PREFIX}{self.project}/{self.project}_{HOUR.date}_{HOUR.of_day}_complete"
        self.wait_for(lambda: marker in self.keys())

    def exported_lines(self) -> list[dict[str, Any]]:
        """Prove manifest, chain, sums and counts from the bucket alone; return the lines."""
        manifests = [k for k in self.keys() if k.startswith(f"{PREFIX}_manifests/{self.project}/")]
        (checked,) = check_chain([self.body(key) for key in manifests])
        stem = f"{PREFIX}{self.project}/{self.project}_{HOUR.date}_{HOUR.of_day}#"
        data_keys = sorted(key for key in self.keys() if key.startswith(stem))
        named = [f"{PREFIX}{self.project}/{file.name}" for file in checked.record.files]
        assert data_keys == sorted(named)
        lines: list[dict[str, Any]] = []
        for key in data_keys:
            # One shot, one member: what follows a first member would be lost here.
            text = zlib.decompress(self.body(key), 31)
            lines += [json.loads(line) for line in text.splitlines()]
        assert len(lines) == checked.record.exported
        return lines


class Load:
    """Clients that post until the hour nears its end, and remember every answer."""

    def __init__(
        self, rig: Rig, *, events: int, filler_bytes: int = 0, requests_max: int = 1_000_000
    ) -> None:
        self._rig = rig
        self._events = events
        self._filler_bytes = filler_bytes
        self._requests_max = requests_max
        self._host, self._port = rig.collector()
        self._lock = threading.Lock()
        self.acknowledged: set[tuple[int, int]] = set()
        self.unanswered: set[tuple[int, int]] = set()
        self.later: set[tuple[int, int]] = set()
        self.refused = 0

    def run(self, clients: int) -> None:
        threads = [threading.Thread(target=self._post_on, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _post_on(self, client: int) -> None:
        chance = random.Random(client)
        request = 0
        connection: http.client.HTTPConnection | None = None
        while request < self._requests_max and self._rig.seconds_left() > QUIET_SECONDS:
            request += 1
            if connection is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
            try:
                connection.request("POST", "/batch", self._body(client, request, chance))
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                with self._lock:
                    self.unanswered.add((client, request))
                threading.Event().wait(0.05)
                continue
            with self._lock:
                if said["code"] == 200:
                    assert said["events_ingested"] == self._events
                    # A busy machine may take the last requests only when the next hour has begun.
                    in_hour = said["server_upload_time"] * 1000 < HOUR.end_micros
                    (self.acknowledged if in_hour else self.later).add((client, request))
                elif said["code"] == 503:
                    self.refused += 1
                else:
                    self.unanswered.add((client, request))
        if connection is not None:
            connection.close()

    def _body(self, client: int, request: int, chance: random.Random) -> bytes:
        filler = "".join(chance.choices(string.ascii_letters + string.digits, k=64))
        events = []
        for index in range(self._events):
            if self._filler_bytes:
                filler = base64.b85encode(chance.randbytes(self._filler_bytes)).decode()
            events.append(
                {
                    "event_type": "test",
                    "user_id": f"client-{client}",
                    "event_properties": {"request": request, "index": index, "f": filler},
                    "insert_id": f"{client}-{request}-{index}",
                }
            )
        return json.dumps({"api_key": self._rig.api_key, "events": events}).encode()

    def prove(self, lines: list[dict[str, Any]]) -> None:
        """Every acknowledged request is there once and whole, every other one so or not at all."""
        seen: dict[tuple[int, int], list[int]] = {}
        for line in lines:
            properties = line["event_properties"]
            client = int(line["user_id"].removeprefix("client-"))
            seen.setdefault((client, properties["request"]), []).append(properties["index"])
        whole = list(range(self._events))
        assert self.acknowledged
        missing = self.acknowledged - seen.keys()
        assert not missing
        assert seen.keys() <= self.acknowledged | self.unanswered
        assert all(sorted(indexes) == whole for indexes in seen.values())
        assert len({line["uuid"] for line in lines}) == len(lines)


@pytest.fixture
def make_rig(
    tmp_path: Path, server: Seaweed, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**settings: str) -> Rig:
        number = SystemIds().random_bytes(4).hex()
        rig = Rig(tmp_path, server, f"{BUCKET}-{number}", settings)
        rigs.append(rig)
        return rig

    yield make
    for rig in rigs:
        rig.end()


@pytest.fixture
def make_load() -> Callable[..., Load]:
    return Load
