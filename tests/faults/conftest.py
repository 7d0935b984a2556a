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


@pytest.fixture(scope="module", autouse=True)
def _sizes_are_as_before() -> Iterator[None]:
    """Undo what `shrink` sets, for the modules that the same process runs afterwards.

    A module's own fixtures call it too, and are set up after this one.
    """
    with pytest.MonkeyPatch.context() as patched:
        for module in (chunks, checkpoint, loop):
            patched.setattr(module, "SMALL_RAW_BYTES", vars(module)["SMALL_RAW_BYTES"])
        for name in ("ROW_KEYS_MAX", "RUNS_PER_MERGE"):
            patched.setattr(insertions, name, vars(insertions)[name])
        yield
