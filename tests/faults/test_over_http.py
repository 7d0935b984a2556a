"""A real collector whose disk fails: what clients are told, and what is there after a restart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tailrace.folder import DataFolder
from tests.faults.running import Running, make_folder, stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""Real processes start under strace, which takes seconds."""

LONG = os.environ.get("TAILRACE_LONG") == "1"
SEGMENT = "log/1/00000000000000000000.log"
END = "log/1/end"
REQUESTS = 8

# Which calls of the thread that writes the log fail, and on which file; whether nobody knows then
# what is stored (500, and the process ends), or nothing is (503, and it goes on).
FAULTS = {
    "write, no space": (SEGMENT, ["write:error=ENOSPC:when=3"], False),
    "write, broken": (SEGMENT, ["write:error=EIO:when=3"], False),
    "sync, broken": (SEGMENT, ["fdatasync:error=EIO:when=3"], True),
    "sync, no space": (SEGMENT, ["fdatasync:error=ENOSPC:when=3"], True),
    "end, broken": (END, ["pwrite64:error=EIO:when=3"], True),
    "write and cut": (
        SEGMENT,
        ["write:error=ENOSPC:when=3", "ftruncate:error=EIO:when=1"],
        True,
    ),
}

Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; see scripts/debian-packages")
        pytest.skip("strace is not installed")
    started: list[Running] = []

    def start_one(folder: DataFolder, part: str, *tracing: str) -> Running:
        started.append(Running(folder, part, *tracing))
        return started[-1]

    yield start_one
    for running in started:
        running.stop()


SHORT = ("write, no space", "sync, broken", "write and cut")


@pytest.mark.parametrize("fault", FAULTS if LONG else SHORT)
def test_a_failing_disk_is_never_answered_with_a_false_200(
    fault: str, tmp_path: Path, start: Start
) -> None:
    file, injected, ends = FAULTS[fault]
    folder, api_key = make_folder(tmp_path / "data")
    calls = ",".join(sorted({"fdatasync", *(text.partition(":")[0] for text in injected)}))
    running = start(
        folder,
        "collector",
        f"--trace={calls}",
        *(f"--inject={text}" for text in injected),
        f"--trace-path={folder.path / file}",
    )
    running.wait_until_up()
    answers = [running.post(api_key, request) for request in range(REQUESTS)]

    assert answers[:2] == [200, 200]
    trace = running.trace_path.read_text()
    if ends:
        assert answers[2] == 500
        assert not {*answers[3:]} & {200}
        assert running.process.wait(20) == 1
        (reason,) = running.reasons()
        assert "look at the disk, then start again" in reason
        # What failed once is not tried again on that file.
        after = trace.partition("(INJECTED)")[2]
        assert "fdatasync" not in after or "write(" in injected[0]
    else:
        assert answers[2:] == [503] + [200] * (REQUESTS - 3)
        running.stop()

    again = start(folder, "collector")
    again.wait_until_up()
    later = again.post(api_key, REQUESTS)
    again.stop()
    assert later == 200
    found = stored(folder)
    sure = [*(n for n, answer in enumerate(answers) if answer == 200), REQUESTS]
    unsure = {n for n, answer in enumerate(answers) if answer in (0, 500)}
    assert [n for n in found if n not in unsure] == sure
    assert len(found) == len(set(found))


def test_a_part_that_a_database_ends_says_so_in_a_sentence(tmp_path: Path, start: Start) -> None:
    folder, _ = make_folder(tmp_path / "data")
    running = start(
        folder,
        "processor",
        "--trace=pwrite64",
        "--inject=pwrite64:error=EIO:when=4",
        f"--trace-path={folder.processing_database}-wal",
    )
    assert running.process.wait(30) == 3
    (reason,) = running.reasons()
    assert reason.startswith("Cannot use a database of the data folder: disk I/O error.")
