from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.hours import Hour
from tailrace.seal.inspect import inspect_file
from tailrace.seal.manifest import manifest_body
from tailrace.seal.proof import check_chain
from tailrace.state import closing, sealing
from tailrace.state.sealed import SealedFile

if TYPE_CHECKING:
    from tests.seal.conftest import MakeWorld, World

HOUR = Hour.parse("2026-11-23T13")
CHILD = Path(__file__).with_name("crash_child.py")
SMALL = 300002

FILE_POINTS = ("seal.file.written", "seal.file.renamed", "seal.file.durable", "seal.rows")
HOUR_POINTS = ("seal.hour", "ledger.before_commit", "seal.handed_over", "seal.cleared")
# Not the first file's turn: the first hour's, the file of its merges, or the second hour's file.
LATER_TURNS = (
    ("ledger.before_commit", 2),
    ("seal.handed_over", 2),
    *((point, 2) for point in FILE_POINTS),
    ("seal.file.renamed", 3),
)

# Every case starts a process to be killed: some 1.5 s each.
pytestmark = pytest.mark.slow


def run_child(folder: Path, how_far: str, partition_bytes: int, kill_at: str = "") -> int:
    environment = {**os.environ, "TAILRACE_KILL_AT": kill_at}
    command = [sys.executable, str(CHILD), str(folder), how_far, str(partition_bytes)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def fill(world: World) -> dict[tuple[int, Hour], list[str]]:
    """Commit two hours of two projects in several packs; return what was accepted."""
    wanted: dict[tuple[int, Hour], list[str]] = {}
    for hour in (HOUR, HOUR.next()):
        for part in range(4):
            large = [[f"{hour} {part} {i} {j}" for j in range(3)] for i in range(2)]
            small = [[f"{hour} {part} small"]]
            world.commit(hour, {world.project: large, SMALL: small}, duplicates=1)
            wanted.setdefault((world.project, hour), []).extend(chain.from_iterable(large))
            wanted.setdefault((SMALL, hour), []).extend(chain.from_iterable(small))
            world.merge(hour, *losers(hour, part))
    return wanted


def losers(hour: Hour, part: int) -> list[tuple[int, int]]:
    """Return what is merged with a part: the later comes first, so that order shows."""
    first = hour.number * 100 + part * 10
    return [(first + 1, 7), (first, 7)]


def finish(world: World) -> None:
    """Start over the folder that the crash left, and do all that is left to do."""
    world.closer.recover()
    world.leave(HOUR.next())
    world.closer.finish()


def rows(world: World) -> set[SealedFile]:
    return {
        file
        for scope in (-world.organization, world.project, SMALL)
        for hour in (HOUR, HOUR.next())
        for file in sealing.files_of(world.store.connection, scope, hour.number)
    }


def check(world: World, wanted: dict[tuple[int, Hour], list[str]]) -> None:
    for (scope, hour), texts in wanted.items():
        assert world.texts(scope, hour) == texts
    for hour in (HOUR, HOUR.next()):
        sealed = world.sealed(-world.organization, hour)
        (file,) = sealed.files
        merged = [json.loads(line) for line in world.content(file).splitlines()]
        found = [(line["amplitude_id"], line["merged_amplitude_id"]) for line in merged]
        assert found == [pair for part in range(4) for pair in losers(hour, part)]
    for scope in (-world.organization, world.project, SMALL):
        links = [world.sealed(scope, hour) for hour in (HOUR, HOUR.next())]
        check_chain(manifest_body(sealed.record, sealed.digest, "p/") for sealed in links)
    for file in rows(world):
        inspected = inspect_file(world.archive.file_path(file.scope, file.hour, file.name))
        assert inspected.sound, inspected.problems
        assert (inspected.sha256, inspected.lines) == (file.sha256, file.lines)
    connection = world.store.connection
    assert sealing.files_to_hand_over(connection, 1) == []
    assert closing.hours_to_hand_over(connection, 1) == []
    assert closing.alarms(connection) == []
    assert connection.execute("SELECT count(*) FROM chunk").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM merge_hour").fetchone() == (0,)
    in_archive = {path.name for path in (world.folder / "archive").rglob("*") if path.is_file()}
    assert in_archive == {file.name for file in rows(world)}


@pytest.mark.parametrize(
    ("point", "turn"),
    [*((point, 1) for point in (*FILE_POINTS, *HOUR_POINTS)), *LATER_TURNS],
)
def test_a_crash_while_sealing_exports_every_line_once(
    make_world: MakeWorld, tmp_path: Path, point: str, turn: int
) -> None:
    world = make_world()
    wanted = fill(world)
    world.close()

    assert run_child(tmp_path, "sealed", 10**6, f"{point}:{turn}") == -signal.SIGKILL
    crashed = make_world()
    committed = rows(crashed)
    assert committed or (point in FILE_POINTS[:3] and turn == 1)
    crashed.close()

    after = make_world()
    finish(after)
    check(after, wanted)
    assert committed <= rows(after)


@pytest.mark.parametrize(
    ("point", "turn"),
    [("seal.file.renamed", 1), ("seal.file.renamed", 3), ("seal.rows", 2), ("seal.handed_over", 1)],
)
def test_a_crash_while_an_early_file_is_made_exports_every_line_once(
    make_world: MakeWorld, tmp_path: Path, point: str, turn: int
) -> None:
    world = make_world()
    wanted = fill(world)
    world.close()

    assert run_child(tmp_path, "early", 200, f"{point}:{turn}") == -signal.SIGKILL
    crashed = make_world()
    committed = rows(crashed)
    assert closing.hours_to_hand_over(crashed.store.connection, 1) == []
    crashed.close()

    # Another partition size after the restart must not change what has a row.
    after = make_world(partition_bytes=400)
    finish(after)
    check(after, wanted)
    assert committed <= rows(after)
    assert len(rows(after)) > 4


def test_one_crash_after_another_still_exports_every_line_once(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world()
    wanted = fill(world)
    world.close()
    for point in ("seal.file.renamed", "seal.rows", "seal.hour", "seal.cleared"):
        run_child(tmp_path, "sealed", 300, point)
    after = make_world(partition_bytes=300)
    finish(after)
    check(after, wanted)


def test_packs_that_a_crash_left_without_rows_are_no_lines(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world()
    wanted = fill(world)
    world.close()
    assert run_child(tmp_path, "sealed", 10**6, "seal.rows:3") == -signal.SIGKILL
    after = make_world()
    finish(after)
    check(after, wanted)
    assert after.archive.pack_names() != []
