"""Runs the workload under strace and returns what it did to the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from powercut.calls import TRACED, read_calls
from powercut.leaving_out import WITHOUT
from powercut.replay import Replay, Step
from powercut.workload import KILLED, PHASES

# A phase takes seconds; on a busy machine more.
PHASE_SECONDS = 240
_KILLED = -9


class Trace(msgspec.Struct, frozen=True):
    """The logs of all phases, in order, and where the workload ran."""

    root: Path
    marks: Path
    logs: tuple[Path, ...]


class WorkloadFailed(RuntimeError):
    """The workload did not end as it should."""


def trace(scratch: Path, without: str = "") -> Trace:
    """Run all phases under `scratch`, with SQLite relaxed as `without` says; return their logs."""
    root, marks = scratch / "root", scratch / "marks"
    root.mkdir(parents=True)
    marks.touch()
    environment = {**os.environ, WITHOUT: without, "PYTHONHASHSEED": "0"}
    # Byte code is not written into the traced folder, but would be traced all the same.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    logs = []
    for phase in PHASES:
        name = phase.__name__
        log = scratch / f"{name}.strace"
        command = ["strace", "-f", "--seccomp-bpf", "-qq", "-xx", "-s", "100000000"]
        command += ["-e", f"trace={TRACED}", "-e", "signal=none", "-o", str(log)]
        command += [sys.executable, "-m", "powercut.workload", str(root / "data"), str(marks), name]
        done = subprocess.run(
            command,
            env=environment,
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=PHASE_SECONDS,
            check=False,
        )
        wanted = _KILLED if name in KILLED else 0
        if done.returncode not in (wanted, 128 - wanted if wanted else 0):
            raise WorkloadFailed(f"{name} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        logs.append(log)
    return Trace(root, marks, tuple(logs))


def play(traced: Trace, without: str = "") -> Iterator[tuple[Replay, Step]]:
    """Yield the disk after each step of the whole workload; leave the syncs of a site out."""
    replay = Replay(traced.root, traced.marks, without)
    for log in traced.logs:
        for step in replay.run(read_calls(log)):
            yield replay, step
