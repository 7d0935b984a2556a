"""Run commands as scripts do: processes with exit codes and plain output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.demo.surroundings import clean


class Done(msgspec.Struct, frozen=True):
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data: Path) -> Run:
    def run_command(*words: str, **environment: str) -> Done:
        command = [sys.executable, "-m", "tailrace", *words]
        where = {"TAILRACE_DATA": str(data)}
        done = subprocess.run(
            command,
            env=clean(os.environ) | where | environment,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run_command
