"""One service under torture: its commands, its processes, and what kills them.

It is `tailrace serve` as anybody starts it, kept up as an operator's systemd would keep it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tailrace.clock import MICROS, to_micros
from tailrace.demo.surroundings import clean
from tailrace.hours import Hour
from torture import inside, timeline

HOOK = Path(__file__).parent / "hook"
ROOT = Path(__file__).resolve().parents[1]

# Small files, so that hours have several; old log segments and files go while it runs.
SETTINGS = {
    "TAILRACE_COLLECT_PROCESSES": "2",
    "TAILRACE_SEAL_PARTITION_BYTES": "6000",
    "TAILRACE_LOG_KEEP_HOURS": "1",
    "TAILRACE_ARCHIVE_KEEP_DAYS": "1",
}
PARTS = ("collector-1", "collector-2", "processor", "exporter", "web")
ROLES = (*PARTS, "serve")

COMMAND_SECONDS = 240
# A part that is killed while it waits for a lock, and a busy machine, are slow to stop.
STOP_SECONDS = 60
POLL_SECONDS = 0.02
SAID_CHARACTERS = 400
IN_USE = "another process holds"
# Keeps the clock's start before an evening: the day's end comes soon, and "today" has hours.
CLOCK_START = "2026-03-01T21:20:00"


class Service:
    """A data folder, and a service on it that comes back whenever it dies."""

    def __init__(self, folder: Path, source: Path | None, rate: int) -> None:
        """Prepare a run in an empty folder; `source` is another copy of the product's code."""
        self.folder = folder
        self.data = folder / "data"
        self.unexplained: list[str] = []
        self._rate = rate
        self._clock: timeline.FastClock | None = None
        self._port, self._web_port = _free_ports()
        for name in (inside.ARMED, inside.PROCESSES):
            (folder / name).mkdir()
        paths = [HOOK, ROOT] if source is None else [HOOK, source, ROOT]
        self._environment = {
            **clean(os.environ),
            **SETTINGS,
            "TORTURE_FOLDER": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        }
        self._wanted = threading.Event()
        self._told_to_stop = threading.Event()
        self._ended = threading.Event()
        self._serving: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep_up, name="keeper", daemon=True)
        self.log = folder / "serve.log"

    @property
    def address(self) -> tuple[str, int]:
        """Where events go."""
        return "127.0.0.1", self._port

    @property
    def clock(self) -> timeline.FastClock:
        """The run's clock, from its first start on."""
        assert self._clock is not None
        return self._clock

    def hour(self) -> Hour:
        """Return the hour that the service's clock shows."""
        return Hour.of_micros(self.clock.now_micros())

    def first_hour(self) -> Hour:
        """Return the hour of the first start."""
        return Hour.of_micros(_start_micros())

    def hours_run(self) -> float:
        """Return how many hours went by since the start."""
        start = self.clock.now_micros() - _start_micros()
        return start / MICROS / 3600

    def command(self, *words: str, kill_after: float | None = None) -> tuple[int, str, str]:
        """Run one command of `tailrace` on the folder, killed if it takes longer than told."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tailrace", *words, "--data", str(self.data)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            out, err = process.communicate(timeout=kill_after or COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return process.returncode, out, err

    def start(self) -> None:
        """Let time begin, and keep the service up from now on."""
        self.timeline = timeline.begin(self.folder, _start_micros(), self._rate)
        self._clock = timeline.FastClock(self.timeline)
        self._wanted.set()
        self._keeper.start()

    def slow_down(self) -> None:
        """Let time run as fast as the machine's from now on; the service is restarted for it.

        What is owed can then be delivered while no new hours come, however busy the machine is.
        Time must not go back under what the fast service stamped, so that has to end first.
        """
        self._wanted.clear()
        self.restart()
        self.wait_for(lambda: not self.processes(), STOP_SECONDS)
        self._clock = timeline.FastClock(timeline.begin(self.folder, self.clock.now_micros(), 1))
        self._wanted.set()

    def stop(self) -> int:
        """Stop the service as an operator does; return its exit code."""
        self._wanted.clear()
        serving = self._serving
        if serving is None:
            return 0
        self._told_to_stop.set()
        serving.terminate()
        code = serving.wait(STOP_SECONDS)
        self._ended.set()
        self._keeper.join(STOP_SECONDS)
        return code

    def restart(self) -> None:
        """Stop the service in order; the keeper starts it again."""
        if self._serving is not None:
            self._told_to_stop.set()
            self._serving.terminate()

    def end(self) -> None:
        """Leave no process behind, whatever the run came to."""
        self._wanted.clear()
        self._ended.set()
        for process, _ in self.processes():
            _kill(process)
        if self._serving is not None:
            self._serving.wait(STOP_SECONDS)

    def processes(self) -> list[tuple[int, str]]:
        """Return process and role of all that live, the youngest last."""
        found = []
        for path in (self.folder / inside.PROCESSES).iterdir():
            process = int(path.name)
            if not self._is_ours(process):
                path.unlink(missing_ok=True)
                continue
            role = path.read_text()
            if role:
                found.append((path.stat().st_mtime_ns, process, role))
        return [(process, role) for _, process, role in sorted(found)]

    def kill(self, process: int) -> bool:
        """Kill one of the service's processes; return whether it still lived."""
        return self._is_ours(process) and _kill(process)

    def _is_ours(self, process: int) -> bool:
        # A number may have been given to a stranger meanwhile; a zombie has no command line.
        try:
            line = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False
        return os.fsencode(self.data) in line.split(b"\0")

    def _keep_up(self) -> None:
        while not self._ended.is_set():
            if not self._wanted.is_set():
                self._ended.wait(POLL_SECONDS)
                continue
            with self.log.open("ab") as log:
                self._serving = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "tailrace", "serve", "--data", str(self.data)),
                        *("--listen", f"127.0.0.1:{self._port}"),
                        *("--web-listen", f"127.0.0.1:{self._web_port}"),
                        *("--clock-start", CLOCK_START),
                    ],
                    env=self._environment,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
                code = self._serving.wait()
            # In its first moments a process does not know better than to die of the order to stop.
            told = self._told_to_stop.is_set() and code == -signal.SIGTERM
            self._told_to_stop.clear()
            if code not in (0, -signal.SIGKILL) and not told:
                # On a busy machine former parts may take longer to end than a start waits.
                said = self.log.read_text(encoding="utf-8", errors="replace")[-SAID_CHARACTERS:]
                if IN_USE not in said:
                    self.unexplained.append(f"serve ended by itself with {code}: {said}")

    def deaths_of_its_own(self) -> list[str]:
        """Return what parts died of that no signal of ours explains."""
        found = list(self.unexplained)
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                # A traceback, or a line that a kill cut.
                continue
            what = event.get("event")
            if what in ("part_ends", "part_failed"):
                why = event.get("reason") or event.get("exception", "")
                found.append(f"{what}: {str(why)[-600:]}")
            elif what == "part_died" and event["exit_code"] not in (0, -signal.SIGKILL):
                found.append(f"{event['died']} ended by itself with {event['exit_code']}")
        return found

    def counts(self, name: str) -> Mapping[tuple[str, str], int]:
        """Return how often each (role, point) is in a file that the processes write."""
        counts: dict[tuple[str, str], int] = {}
        path = self.folder / name
        if path.exists():
            for line in path.read_text().splitlines():
                role, _, point = line.partition(" ")
                counts[role, point] = counts.get((role, point), 0) + 1
        return counts

    def wait_for(self, look: Callable[[], object], seconds: float) -> bool:
        """Poll until `look()` is true; return False if that did not come in time."""
        until = time.monotonic() + seconds
        while not look():
            if time.monotonic() >= until:
                return False
            pause(POLL_SECONDS)
        return True


def pause(seconds: float) -> None:
    """Let real time pass."""
    threading.Event().wait(seconds)


def _start_micros() -> int:
    return to_micros(datetime.fromisoformat(CLOCK_START).replace(tzinfo=UTC))


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(two.getsockname()[1])
