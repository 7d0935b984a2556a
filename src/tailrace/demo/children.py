"""The processes that the demo starts: each in a group of its own, none left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tailrace.demo.interrupts import Interrupts

# The service promises to stop within 10 s of SIGTERM; after this long its group is killed.
_STOP_SECONDS = 12.0
_WORDS_MAX = 1500  # characters of a child's last words that an error repeats


class Child:
    """A running process, and the files that take what it says."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.process = process
        self._output = output
        self._errors = errors

    def output(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text(errors="replace")

    def last_words(self) -> str:
        """Return the end of what it said on standard error."""
        return self._errors.read_text(errors="replace").strip()[-_WORDS_MAX:]

    def wait(self, seconds: float) -> int | None:
        """Wait up to so long; return the exit code, or None while it runs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class Children:
    """All processes, in the order of their start; `end` stops them in the opposite order."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], interrupts: Interrupts
    ) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._interrupts = interrupts
        self._started: list[Child] = []

    def start(self, command: Sequence[str], said: str = "") -> Child:
        """Start a command in the demo's folder; `said` is what it reads.

        A Ctrl-C in the terminal does not reach it: the demo stops its children in order.
        """
        name = f"child-{len(self._started)}"
        output, errors = self._folder / f"{name}.out", self._folder / f"{name}.err"
        with (
            self._interrupts.deferred(),
            output.open("wb") as output_file,
            errors.open("wb") as errors_file,
            tempfile.TemporaryFile(dir=self._folder) as input_file,
        ):
            input_file.write(said.encode())
            input_file.seek(0)
            process = subprocess.Popen(  # noqa: S603 - the commands are the demo's own
                command,
                cwd=self._folder,
                env=self._environment,
                stdin=input_file,
                stdout=output_file,
                stderr=errors_file,
                start_new_session=True,
            )
            child = Child(process, output, errors)
            self._started.append(child)
        return child

    def end(self) -> None:
        """Stop every process and whatever it started itself; safe to call again."""
        while self._started:
            process = self._started.pop().process
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
            # The group outlives its first process if that one died without its own children.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
