"""Folders in memory: no power fails here, so nothing has to wait for a disk's syncs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.process import checkpoint, chunks, loop
from tailrace.state import insertions

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, or on disk where there is none."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("disk")
        return
    folder = Path(tempfile.mkdtemp(prefix="tailrace-faults-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _sizes_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what `shrink` sets, for the tests that the same process runs afterwards."""
    for module in (chunks, checkpoint, loop):
        size = vars(module)["SMALL_RAW_BYTES"]
        monkeypatch.setattr(module, "SMALL_RAW_BYTES", size)
    for name in ("ROW_KEYS_MAX", "RUNS_PER_MERGE"):
        monkeypatch.setattr(insertions, name, vars(insertions)[name])
