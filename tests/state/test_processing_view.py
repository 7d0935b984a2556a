from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state import processing_rows
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_view import OpenMerges, ProcessingView


def test_a_database_that_a_power_cut_left_half_made_reads_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "processing.sqlite"
    making = sqlite3.connect(path, isolation_level=None)
    making.execute("CREATE TABLE other (text TEXT)")
    making.execute("PRAGMA cache_spill = 1")
    making.execute("PRAGMA cache_size = 1")
    making.execute("BEGIN IMMEDIATE")
    # More than the cache takes, so that pages are written though nothing is committed.
    making.executemany("INSERT INTO other VALUES (?)", (("x" * 4000,) for _ in range(20)))
    left = tmp_path / "left" / path.name
    left.parent.mkdir()
    for suffix in ("", "-journal"):
        shutil.copyfile(f"{path}{suffix}", f"{left}{suffix}")
    making.close()

    assert ProcessingView(left).positions() == []
    store = ProcessingStore.open(left, SystemIds())
    assert store.positions() == {}
    store.close()
    assert ProcessingView(left).positions() == []


def test_merges_that_wait_for_their_hour_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "processing.sqlite"
    assert ProcessingView(path).open_merges() == []
    store = ProcessingStore.open(path, SystemIds())
    hour = Hour.parse("2026-11-23T13")
    rows = [(loser, 5, 100001, hour.number, 1, 1, 1) for loser in (9, 8)]
    with store.transaction() as connection:
        processing_rows.write_merges(connection, rows)
    assert ProcessingView(path).open_merges() == [OpenMerges(100001, "2026-11-23T13", 2)]
    store.close()
