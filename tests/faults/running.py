"""`Running`: one real part of the service as a process, traced if system calls are to fail."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailrace.accounts.projects import add_organization, add_project, projects
from tailrace.clock import SystemClock
from tailrace.demo.surroundings import clean
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.log.reader import LogReader
from tailrace.log.writer import LogWriter
from tailrace.ops.heartbeats import Heartbeat, is_alive, read_heartbeats
from tailrace.state.database import open_database
from tailrace.state.secrets import Secrets

WAIT_SECONDS = 60
POLL_SECONDS = 0.02


def wait_for(look: Callable[[], Any]) -> Any:
    """Return what a look finds, once it finds something."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        if found := look():
            return found
        threading.Event().wait(POLL_SECONDS)
    raise AssertionError(f"nothing came within {WAIT_SECONDS} s")


def make_folder(path: Path) -> tuple[DataFolder, str]:
    """Make a data folder with one project; return its key, too."""
    folder, files, ids = DataFolder(path), Files(), SystemIds()
    folder.create(files)
    engine = open_database(folder.database)
    Secrets.open(folder.secrets_key, files, ids)
    organization = add_organization(engine, "Acme", clock=SystemClock())
    made = add_project(engine, organization, "Shop", ids=ids, clock=SystemClock())
    assert projects(engine)
    engine.dispose()
    folder.fix_clock(None, files)
    return folder, made.api_key


class Running:
    """A part: `collector`, `processor` or `exporter`; the port is the collector's."""

    def __init__(self, folder: DataFolder, part: str, *tracing: str, at: str = "") -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        number = SystemIds().random_bytes(4).hex()
        self.errors_path = folder.path.parent / f"{part}-{number}.err"
        self.trace_path = folder.path.parent / f"{part}-{number}.trace"
        self._folder = folder
        self._traced = bool(tracing)
        self._name = "collector-1" if part == "collector" else part
        command = [sys.executable, "-m", "tailrace", "run", part, "--data", str(folder.path)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        if tracing:
            command = ["strace", "-f", "-qqq", "-y", "-o", str(self.trace_path), *tracing, *command]
        environment = clean(os.environ) | ({"TAILRACE_KILL_AT": at} if at else {})
        with self.errors_path.open("wb") as errors:
            self.process = subprocess.Popen(command, env=environment, stderr=errors)

    def wait_until_up(self) -> int:
        """Return the number of the part's process once it beats."""
        return int(wait_for(self._beating))

    def _beating(self) -> int:
        assert self.process.poll() is None, self.errors()
        beat = self.beat()
        return 0 if beat is None else beat.process

    def beat(self) -> Heartbeat | None:
        """Return this part's latest word, not that of another instance."""
        for beat in read_heartbeats(self._folder.run):
            own = self._traced or beat.process == self.process.pid
            alive = is_alive(beat, SystemClock().steady_micros())
            if beat.part == self._name and own and alive:
                return beat
        return None

    def post(self, api_key: str, request: int, timeout_seconds: float = 20) -> int:
        """Send one event; return the answer's status, 0 if none came."""
        event = {"event_type": "buy", "device_id": "device-1", "insert_id": str(request)}
        body = json.dumps({"api_key": api_key, "events": [event]})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        try:
            connection.request("POST", "/batch", body)
            answer = connection.getresponse()
            assert json.loads(answer.read())["code"] == answer.status
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def reasons(self) -> list[str]:
        """Return the sentences that the part ended with."""
        lines = [json.loads(line) for line in self.errors().splitlines() if line.startswith("{")]
        return [line["reason"] for line in lines if line["event"] == "part_ends"]

    def errors(self) -> str:
        """Return what the part said."""
        return self.errors_path.read_text()

    def stop(self) -> None:
        """End the part, and whoever traces it."""
        if self.process.poll() is None:
            beat = self.beat() if self._traced else None
            with contextlib.suppress(ProcessLookupError):
                number = self.process.pid if beat is None else beat.process
                os.kill(number, signal.SIGCONT)
                os.kill(number, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def stored(folder: DataFolder) -> list[int]:
    """Recover the log of the first collector and return the requests in it, in order."""
    writer = LogWriter.open(
        folder.log / "1", partition=1, clock=SystemClock(), files=Files(), known_end=0
    )
    writer.close()
    reader = LogReader(folder.log)
    found: list[int] = []
    position = 0
    while entries := reader.read(1, position, 1 << 20):
        for entry in entries:
            if entry.record is not None:
                events = json.loads(entry.record.body)["events"]
                found += [int(event["insert_id"]) for event in events]
        position = entries[-1].next_position
    reader.close()
    return found
