"""`Lives`: run lives under strace, which lets one system call fail that is never carried out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import IO

import msgspec

from tests.faults.child import Job, Told

# What SQLite and the heartbeats write; every other write is one of ours (`test_file_writes.py`).
WRITTEN = (
    *(
        f"{name}.sqlite{suffix}"
        for name in ("processing", "tailrace")
        for suffix in ("", "-wal", "-shm", "-journal")
    ),
    "run/processor.tmp",
)
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "openat", "unlink", "rename")
ATTACH_SECONDS = 30
LINE = re.compile(r'(\w+)\((?:\d+<([^>]*)>|(?:\w+(?:<[^>]*>)?, )?"([^"]*)")')


class Fault(msgspec.Struct, frozen=True):
    """The `at`-th call of a kind on a file fails with an error."""

    call: str
    file: str
    at: int
    error: str


class Lives:
    """A process that forks lives, and the tracer of each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        """End the nursery."""
        self._stdin.close()
        self._nursery.wait(30)
        self._stdout.close()

    def count(self) -> Counter[tuple[str, str]]:
        """Return how often each call is made on each file in a life in which all goes well."""
        data = self._folder / "well"
        self._live("well", [f"--trace={','.join(CALLS)}", *_paths(data, WRITTEN)])
        counted: Counter[tuple[str, str]] = Counter()
        for line in (self._folder / "well.trace").read_text().splitlines():
            found = LINE.match(line.partition(" ")[2].lstrip())
            if found is None or (found[1] == "openat" and "O_CREAT" not in line):
                continue
            path = (found[2] or found[3]).removeprefix(f"{data}/")
            if path in WRITTEN:
                counted[found[1], path] += 1
        return counted

    def live(self, name: str, fault: Fault) -> tuple[Told, bool]:
        """Live with one fault; return what came of it, and whether the call came at all."""
        options = [
            f"--trace={fault.call}",
            f"--inject={fault.call}:error={fault.error}:when={fault.at}",
            *_paths(self._folder / name, (fault.file,)),
        ]
        told = self._live(name, options)
        return told, "(INJECTED)" in (self._folder / f"{name}.trace").read_text()

    def _live(self, name: str, options: list[str]) -> Told:
        told = self._folder / f"{name}.told"
        job = Job(str(self._folder / name), str(self._folder / f"{name}.bucket"), str(told))
        self._stdin.write(msgspec.json.encode(job) + b"\n")
        self._stdin.flush()
        process = int(self._stdout.readline())
        trace = self._folder / f"{name}.trace"
        tracer = subprocess.Popen(
            ["strace", "-f", "-qqq", "-y", "-o", str(trace), *options, "-p", str(process)]
        )
        _wait_for_tracer(process)
        os.kill(process, signal.SIGCONT)
        code = int(self._stdout.readline())
        tracer.wait(ATTACH_SECONDS)
        assert code == 0, f"{name}: exit code {code}"
        return msgspec.json.decode(told.read_bytes(), type=Told)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._nursery.stdin is not None
        return self._nursery.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._nursery.stdout is not None
        return self._nursery.stdout


def _paths(data: Path, files: tuple[str, ...]) -> list[str]:
    return [f"--trace-path={data / file}" for file in files]


def _wait_for_tracer(process: int) -> None:
    until = time.monotonic() + ATTACH_SECONDS
    while "TracerPid:\t0\n" in Path(f"/proc/{process}/status").read_text():
        assert time.monotonic() < until, "strace does not attach"
        time.sleep(0.002)
