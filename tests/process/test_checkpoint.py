from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tailrace.errors import Corrupt, InUse
from tailrace.process.chunks import SMALL_RAW_BYTES

EVENT = {"device_id": "device-1", "event_type": "buy"}


def sends(count: int, start: int = 0, size: int = 0) -> list[dict[str, Any]]:
    return [
        {**EVENT, "insert_id": f"i{n}", "event_properties": {"n": n, "x": "x" * size}}
        for n in range(start, start + count)
    ]


def numbers(bench: Any) -> list[int]:
    return [line["event_properties"]["n"] for line in bench.lines()]


def packs(bench: Any) -> list[str]:
    return list(bench.archive.pack_names())


def test_a_checkpoint_commits_output_position_and_state_together(bench: Any) -> None:
    bench.send(*sends(3))
    bench.processor.run_round()
    assert bench.rows("SELECT count(*) FROM position") == [(0,)]
    assert packs(bench) == []

    bench.processor.checkpoint()

    assert numbers(bench) == [0, 1, 2]
    assert bench.rows("SELECT partition, position FROM position") == [(1, 2)]
    assert bench.dedupe_keys() == 3
    assert packs(bench) == ["00000001-00000001.pack"]


def test_all_projects_go_into_one_pack(bench: Any) -> None:
    for project in (300001, 300002, 300003):
        bench.send(*sends(2), project=project)

    bench.run()

    assert len(packs(bench)) == 1
    assert [len(bench.lines(project)) for project in (300001, 300002, 300003)] == [2, 2, 2]


def test_an_idle_processor_writes_nothing(bench: Any) -> None:
    bench.send(*sends(1))
    bench.run()
    before = bench.rows("PRAGMA data_version"), bench.store.connection.total_changes

    bench.run()
    bench.clock.advance(10**12)

    assert not bench.processor.checkpoint_due()
    bench.run()
    assert (bench.rows("PRAGMA data_version"), bench.store.connection.total_changes) == before
    assert len(packs(bench)) == 1


def test_entries_without_lines_make_no_pack(bench: Any) -> None:
    bench.tick()
    bench.send({**EVENT, "event_type": "$identify"})

    bench.run()

    assert packs(bench) == []
    assert bench.rows("SELECT position FROM position") == [(3,)]


def test_a_crash_between_pack_and_commit_exports_once(bench: Any) -> None:
    bench.send(*sends(3))
    bench.processor.run_round()
    bench.archive.put_pack("00000001-00000001.pack", [b"lines that no row names"])
    bench.crash()

    bench.run()

    assert numbers(bench) == [0, 1, 2]
    assert packs(bench) == ["00000002-00000001.pack"]


def test_left_over_packs_go_only_after_the_own_first_checkpoint(bench: Any) -> None:
    for name in ("00000001-00000009.pack", "00000002-00000007.pack", "00000003-00000001.pack"):
        bench.archive.put_pack(name, [b"x"])
    # A process that is killed while it writes a pack leaves up to all of it.
    folder = bench.folder / "packs"
    for name in ("00000001-00000010.pack", "00000002-00000008.pack"):
        (folder / f".{name}.tmp").write_bytes(b"half")
    bench.crash()
    bench.processor.run_round()
    bench.processor.checkpoint()
    assert len(packs(bench)) == 3

    bench.tick()
    bench.run()

    # The epoch is 2 now: what it or a later one made may still get a row.
    assert packs(bench) == ["00000002-00000007.pack", "00000003-00000001.pack"]
    unfinished = [path.name for path in folder.iterdir() if path.suffix == ".tmp"]
    assert unfinished == [".00000002-00000008.pack.tmp"]


def test_a_processor_that_was_superseded_can_not_commit(bench: Any) -> None:
    bench.send(*sends(1))
    bench.processor.run_round()
    bench.store.draw_epoch()

    with pytest.raises(InUse, match="Another processor took over"):
        bench.processor.checkpoint()

    assert bench.rows("SELECT count(*) FROM chunk") == [(0,)]
    with pytest.raises(InUse, match="Start a new one"):
        bench.processor.run_round()


def test_a_position_that_moved_meanwhile_stops_the_commit(bench: Any) -> None:
    bench.send(*sends(1))
    bench.processor.run_round()
    bench.store.connection.execute("INSERT INTO position VALUES (1, 9, 9)")

    with pytest.raises(InUse, match="at another position"):
        bench.processor.checkpoint()

    assert bench.rows("SELECT position FROM position") == [(9,)]


def test_a_failed_checkpoint_ends_the_processor_and_the_next_one_repeats_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send(*sends(3))
    bench.processor.run_round()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bench.files, "put_whole", full)
        with pytest.raises(OSError, match="No space"):
            bench.processor.checkpoint()
    for call in (bench.processor.checkpoint, bench.processor.run_round):
        with pytest.raises(InUse):
            call()
    bench.crash()
    bench.run()

    assert numbers(bench) == [0, 1, 2]
    assert bench.counts()["accepted"] == 3


def test_small_chunks_become_one_when_they_reach_a_mebibyte(bench: Any) -> None:
    for start in range(0, 1300, 100):
        bench.send(*sends(100, start))
        bench.run()

    rows = bench.rows("SELECT raw_length, lines FROM chunk ORDER BY sequence")
    assert rows[0][0] >= SMALL_RAW_BYTES
    assert len(rows) < 13
    assert numbers(bench) == list(range(1300))
    named = {name for (name,) in bench.rows("SELECT pack FROM chunk")}
    assert set(packs(bench)) == named


def test_a_restart_in_between_changes_nothing_in_how_chunks_grow(bench: Any) -> None:
    for start in range(0, 1300, 100):
        bench.send(*sends(100, start))
        bench.run()
        bench.crash()

    assert len(bench.rows("SELECT 1 FROM chunk")) < 13
    assert numbers(bench) == list(range(1300))


def test_chunks_in_use_by_a_join_are_neither_rewritten_nor_removed(bench: Any) -> None:
    for start in range(0, 1000, 100):
        bench.send(*sends(100, start))
        bench.run()
    reserved = {row[0] for row in bench.rows("SELECT id FROM chunk")}
    before = set(packs(bench))
    bench.store.reserved_chunks |= reserved

    for start in range(1000, 1300, 100):
        bench.send(*sends(100, start))
        bench.run()

    assert reserved <= {row[0] for row in bench.rows("SELECT id FROM chunk")}
    assert before <= set(packs(bench))
    assert numbers(bench) == list(range(1300))


def test_a_damaged_chunk_stops_the_processor_instead_of_being_rewritten(bench: Any) -> None:
    for start in range(0, 400, 100):
        bench.send(*sends(100, start, size=2000))
        bench.run()
    ((name, offset),) = bench.rows("SELECT pack, offset FROM chunk ORDER BY id DESC LIMIT 1")
    path = bench.folder / "packs" / name
    data = bytearray(path.read_bytes())
    data[offset + 40] ^= 255
    path.write_bytes(data)
    size = len(bench.rows("SELECT 1 FROM chunk"))

    def go_on() -> None:
        for start in range(400, 1200, 100):
            bench.send(*sends(100, start, size=2000))
            bench.run()

    with pytest.raises(Corrupt):
        go_on()

    assert len(bench.rows("SELECT 1 FROM chunk")) >= size


CHILD = """
import importlib.util, os, pathlib, sys
spec = importlib.util.spec_from_file_location("bench", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["bench"] = module
spec.loader.exec_module(module)
from tailrace import killpoints
bench = module.Bench(pathlib.Path(sys.argv[2]))
events = [{"device_id": "d", "event_type": "e", "insert_id": str(n)} for n in range(5)]
bench.send(*events)
killpoints.arm(os.environ["TAILRACE_KILL_AT"])
bench.run()
"""


@pytest.mark.parametrize(
    "point",
    ["pack.written", "pack.renamed", "pack.durable", "checkpoint.packed", "checkpoint.committed"],
)
def test_a_kill_at_every_step_of_a_checkpoint_exports_once(
    make_bench: Any, tmp_path: Path, point: str
) -> None:
    conftest = Path(__file__).with_name("conftest.py")
    folder = tmp_path / "data"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(conftest), str(folder)],
        env=os.environ | {"TAILRACE_KILL_AT": point},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL

    bench = make_bench(folder)
    bench.send(*({"device_id": "d", "event_type": "e", "insert_id": str(n)} for n in range(5)))
    bench.run()

    assert [line["$insert_id"] for line in bench.lines()] == list("01234")
    assert bench.counts()["accepted"] == 5
    assert bench.counts()["duplicates"] == 0


AHEAD_CHILD = (
    CHILD.partition("events = ")[0]
    + """
from tailrace.process import loop
loop.OPEN_BYTES_MAX = loop.AHEAD_BYTES_MIN = 1
bench.send(*module.long_record())
killpoints.arm(os.environ["TAILRACE_KILL_AT"])
bench.run()
"""
)


@pytest.mark.parametrize(
    "point",
    [
        "pack.written",
        "pack.durable",
        "pack.renamed:2",
        "pack.durable:3",
        "checkpoint.packed",
        "checkpoint.committed",
    ],
)
def test_a_kill_while_parts_of_a_record_are_written_ahead_exports_it_once(
    make_bench: Any, tmp_path: Path, point: str, long_record: Any
) -> None:
    conftest = Path(__file__).with_name("conftest.py")
    folder = tmp_path / "data"
    child = subprocess.run(
        [sys.executable, "-c", AHEAD_CHILD, str(conftest), str(folder)],
        env=os.environ | {"TAILRACE_KILL_AT": point},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    bench, whole = make_bench(folder), make_bench(tmp_path / "whole")
    for one in (bench, whole):
        one.send(*long_record)
        one.run()
        one.send({**EVENT, "device_id": "device-3"})
        one.run()

    # The sums of its people count every event once, and the clock of these benches stands still.
    assert bench.raw() == whole.raw()
    assert bench.counts() == whole.counts()
    assert bench.lines()[-1]["user_properties"] == {"n": 50}
    named = bench.rows("SELECT DISTINCT pack FROM chunk ORDER BY pack")
    assert [(name,) for name in packs(bench)] == named


def test_what_is_written_ahead_shows_nowhere_before_the_commit(
    bench: Any, monkeypatch: pytest.MonkeyPatch, long_record: Any
) -> None:
    monkeypatch.setattr("tailrace.process.loop.OPEN_BYTES_MAX", 1)
    monkeypatch.setattr("tailrace.process.loop.AHEAD_BYTES_MIN", 1)
    bench.send(*long_record)
    bench.processor.run_round()
    assert len(packs(bench)) == 3
    with sqlite3.connect(bench.folder / "processing.sqlite") as other:
        for table in ("chunk", "person", "user_property", "position"):
            assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    # What is begun is due, however little is left.
    monkeypatch.setattr("tailrace.process.loop.OPEN_BYTES_MAX", 64_000_000)
    assert bench.processor.checkpoint_due()
    bench.crash()
    assert bench.rows("SELECT count(*) FROM person") == [(0,)]

    bench.run()

    # The packs of the processor that is gone are removed with the first commit of this one.
    assert {name.partition("-")[0] for name in packs(bench)} == {"00000002"}
    assert len(bench.lines()) == 350 - 50
    assert bench.rows("SELECT count(*) FROM chunk WHERE lines = 0") == [(0,)]
    assert bench.rows("SELECT sum(lines) FROM chunk") == [(300,)]


def test_other_transactions_are_refused_while_a_commit_is_begun(bench: Any) -> None:
    bench.store.begin_checkpoint(bench.processor.epoch)

    with (
        pytest.raises(sqlite3.OperationalError, match="within a transaction"),
        bench.store.transaction(),
    ):
        pass
