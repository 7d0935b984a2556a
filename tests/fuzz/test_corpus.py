"""Every saved input still passes, and the oracles that say so can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import wire
from fuzz.__main__ import outcome
from fuzz.claims import Finding
from fuzz.request import check_answer
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


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, b'{"code":500,"error":"x"}'),
        (503, b'{"code":503,"error":"x"}'),
        (400, b'{"code":413,"error":"x"}'),
        (400, b'{"code":400}'),
        (400, b'{"code":400,"code":400,"error":"x"}'),
        (200, b"OK"),
    ],
)
def test_an_answer_that_is_not_documented_is_a_finding(status: int, answer: bytes) -> None:
    check_answer(400, b'{"code":400,"error":"x"}')

    with pytest.raises(Finding):
        check_answer(status, answer)


@pytest.mark.parametrize(
    "received", [b"HTTP/1.1 200 OK\r\n\r\n", b"no HTTP", b"HTTP/1.1 200 OK\r\ncontent-length: 1"]
)
def test_bytes_of_a_connection_that_are_no_answer_are_a_finding(received: bytes) -> None:
    sound = b'HTTP/1.1 400 x\r\ncontent-length: 12\r\n\r\n{"code":400}'
    assert wire._statuses(sound + sound) == [400, 400]

    with pytest.raises(Finding):
        wire._statuses(sound + received)


def test_a_hunt_that_ran_nothing_is_a_finding() -> None:
    ran = "#2 INITED cov: 31\n#900 NEW cov: 77\nstat::number_of_executed_units: 900\n"
    done = outcome("wire", ran, 0)
    assert (done.executions, done.covered_before, done.covered_after) == (900, 31, 77)
    assert done.finding is None

    assert "nothing was hunted" in str(outcome("wire", "", 0).finding)
    assert "nothing was hunted" in str(outcome("wire", ran.replace("cov", "ft"), 0).finding)
    assert "nothing was hunted" not in str(outcome("wire", ran, 77).finding)
