"""The parent's side of a measured process: start it, ask for its CPU seconds, end it."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

_END_SECONDS = 15


class Child:
    """One process that answers lines; `first` is what it said once it was up.

    A server says its port of the loopback address.
    """

    def __init__(self, name: str, module: str, *arguments: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
        )
        self.first = self._answer()

    @property
    def port(self) -> int:
        """The port on which a server listens."""
        return int(self.first)

    @property
    def pid(self) -> int:
        """The child's process id, under which its memory is found."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU seconds, user and system, of all the child's threads so far."""
        return float(self.ask("cpu"))

    def ask(self, line: str) -> str:
        """Say a line and return the answer."""
        self._say(line)
        return self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._say("stop")
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"The {self.name} server ended with {code}; its error is above.")
        return line
