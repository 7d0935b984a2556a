"""Every saved input still passes, and the oracles that say so can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import CORPUS, NAMES, corpus_of

ROOT = Path(__file__).resolve().parents[2]
# Small enough for git, large enough for one upload of some events.
FILE_BYTES_MAX = 2048
FILES_MAX = 60


# Each target starts what it needs, some of it a database or a server, and runs dozens of inputs.
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_saved_input_passes(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.replay", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    count = len(corpus_of(name))
    assert f"{name}: {count} of {count} passed" in done.stdout


def test_the_corpus_is_small_and_every_target_has_one() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(NAMES)
    for name in NAMES:
        files = corpus_of(name)
        assert 0 < len(files) <= FILES_MAX
        assert max(path.stat().st_size for path in files) <= FILE_BYTES_MAX
