"""The writer is killed at named points and at random; every answered record must be there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.clock import SystemClock
from tailrace.files import Files
from tailrace.log.reader import LogReader
from tailrace.log.writer import LogWriter

PROGRAM = Path(__file__).with_name("appending.py")


def start(log_folder: Path, partition: int, name: str, kill_at: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(log_folder), str(partition), name],
        stdout=subprocess.PIPE,
        env={**os.environ, "TAILRACE_KILL_AT": kill_at},
    )


def run_to_its_death(log_folder: Path, name: str, kill_at: str) -> list[str]:
    """Return what was answered before the kill point was reached."""
    process = start(log_folder, 1, name, kill_at)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    return [line for line in output.decode().split() if line != "ready"]


def run_for(log_folder: Path, partition: int, name: str, answers: int) -> list[str]:
    """Return what was answered by a process that is killed after about so many answers."""
    process = start(log_folder, partition, name, "")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(answers + 1)]
    process.kill()
    lines += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    return [line.decode().strip() for line in lines if line != b"ready\n"]


def recovered(log_folder: Path, partition: int = 1) -> list[str]:
    """Return what the log holds after a start; each body must be whole."""
    LogWriter.open(
        log_folder / str(partition),
        partition=partition,
        clock=SystemClock(),
        files=Files(),
        known_end=0,
    ).close()
    reader = LogReader(log_folder)
    found: list[str] = []
    position = stamp = 0
    while entries := reader.read(partition, position, 1 << 20):
        for entry in entries:
            assert entry.stamp > stamp
            stamp = entry.stamp
            if entry.record is not None:
                text, _, padding = entry.record.body.partition(b" ")
                size = int(text.split(b"-")[2]) * 37 % 500
                assert len(padding) == max(0, size - 1)
                found.append(text.decode())
        position = entries[-1].next_position
    reader.close()
    return found


@pytest.mark.slow  # a process is started for each of two runs
@pytest.mark.parametrize(
    "kill_at", ["log.written:2", "log.written:60", "log.synced:60", "log.rolled:2"]
)
def test_a_kill_at_a_named_point_loses_no_answered_record(tmp_path: Path, kill_at: str) -> None:
    answered = run_to_its_death(tmp_path / "log", "one", kill_at)
    answered += run_to_its_death(tmp_path / "log", "two", kill_at)
    found = recovered(tmp_path / "log")
    assert len(found) == len(set(found))
    assert set(answered) <= set(found)
    # Unanswered: at most what each of the 16 callers had sent last in either run.
    assert len(found) <= len(answered) + 32


@pytest.mark.slow  # a process is started twice
def test_a_kill_within_recovery_loses_nothing(tmp_path: Path) -> None:
    answered = run_to_its_death(tmp_path / "log", "one", "log.written:30")
    assert run_to_its_death(tmp_path / "log", "two", "log.recovering") == []
    assert set(answered) <= set(recovered(tmp_path / "log"))


@pytest.mark.slow  # a process is started six times
def test_kills_at_random_moments_under_load_lose_no_answered_record(tmp_path: Path) -> None:
    chance = random.Random(20260102)
    answered: dict[int, list[str]] = {1: [], 2: []}
    for number in range(6):
        partition = 1 + number % 2
        count = chance.randrange(1, 3_000)
        answered[partition] += run_for(tmp_path / "log", partition, f"run{number}", count)
    for partition, texts in answered.items():
        found = recovered(tmp_path / "log", partition)
        assert len(texts) >= 3
        assert len(found) == len(set(found))
        assert set(texts) <= set(found)
