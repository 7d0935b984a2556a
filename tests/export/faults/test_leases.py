"""A lease that runs out while its worker sleeps: whoever wakes up late writes nothing more."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tailrace.export.deliver import LEASE_SECONDS
from tailrace.state.tables import delivery, delivery_file
from tests.export.faults import play
from tests.export.faults.conftest import LARGE, PART_BYTES, SMALL, quick_clients
from tests.export.faults.proof import drive
from tests.export.faults.proxy import Fault

SLOW = pytest.mark.slow(reason="several megabytes go through a real server, more than once")
SLEEPER = Path(__file__).with_name("sleeper.py")
TAKE_OVERS_MAX = 20
POINTS = [
    ("HeadObject", 1),
    ("CreateMultipartUpload", 1),
    ("UploadPart", 1),
    ("UploadPart", 2),
    ("CompleteMultipartUpload", 1),
    ("PutObject", 1),
    ("PutObject", 2),
    ("PutObject", 3),
]


def rows(world: Any) -> list[Any]:
    """Return everything the ledger holds about runs and their files."""
    with world.engine.connect() as connection:
        return [list(connection.execute(sa.select(table))) for table in (delivery, delivery_file)]


def written(life: Any) -> list[Any]:
    """Return what was created in the bucket, and what it was asked to create and refused."""
    return [one for one in life.faults.reached if one.operation.startswith(("Put", "Complete"))]


@SLOW
@pytest.mark.parametrize(("operation", "nth"), POINTS)
@pytest.mark.parametrize("how", ["before the store", "after the store"])
def test_a_worker_that_is_held_while_another_finishes_writes_nothing_more(
    life: Any, operation: str, nth: int, how: str
) -> None:
    life.world.clients = quick_clients(life.world.clock, silence_seconds=60)
    life.begin(SMALL, LARGE)
    held, go = threading.Event(), threading.Event()
    life.faults.play(operation, holding(how, held, go), nth=nth)
    late = threading.Thread(target=life.world.exporter().deliver_next)
    late.start()
    assert held.wait(60)
    life.world.wait(LEASE_SECONDS + 1)

    drive(life.world, life.world.exporter())
    before, written_before = rows(life.world), written(life)
    go.set()
    late.join(60)

    assert not late.is_alive()
    # A worker that sees its lease lost while it sends may go before the store has its request.
    life.faults.settle()
    assert rows(life.world) == before
    after = written(life)[len(written_before) :]
    assert [one for one in after if one.ok] == []
    on_the_way = how == "before the store" and operation.startswith(("Put", "Complete"))
    assert len(after) == on_the_way, "only what was on the way when the lease ran out"
    life.prove()


def holding(how: str, held: threading.Event, go: threading.Event) -> Fault:
    if how == "before the store":
        return play.hold(held, go)

    def wait() -> None:
        held.set()
        assert go.wait(play.HELD_SECONDS)

    return play.after(wait)


@SLOW
@pytest.mark.parametrize(
    ("operation", "nth"), [("UploadPart", 1), ("CompleteMultipartUpload", 1), ("PutObject", 2)]
)
def test_a_process_that_was_stopped_while_another_took_over_writes_nothing_more(
    life: Any, tmp_path: Path, operation: str, nth: int
) -> None:
    life.begin(SMALL, LARGE)
    held, go = threading.Event(), threading.Event()
    life.faults.play(operation, play.hold(held, go), nth=nth)
    clock = tmp_path / "clock"
    clock.write_text(str(life.world.clock.now_micros()))
    sleeper = subprocess.Popen(
        [sys.executable, str(SLEEPER), str(tmp_path), str(clock), str(PART_BYTES)],
        cwd=os.fspath(Path(__file__).parents[3]),
        env={"PATH": os.defpath, "PYTHONPATH": os.fspath(Path(__file__).parents[3])},
    )
    try:
        assert held.wait(60)
        sleeper.send_signal(signal.SIGSTOP)
        life.world.wait(LEASE_SECONDS + 1)
        clock.write_text(str(life.world.clock.now_micros()))
        drive(life.world, life.world.exporter())
        before, written_before = rows(life.world), written(life)

        go.set()
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.wait(60) == 0
    finally:
        go.set()
        sleeper.kill()
        sleeper.wait()

    life.faults.settle()
    assert rows(life.world) == before
    after = written(life)[len(written_before) :]
    assert [one for one in after if one.ok] == []
    assert len(after) == operation.startswith(("Put", "Complete"))
    life.prove()


@pytest.mark.parametrize("name", ["manifest", "marker"])
def test_a_lease_that_is_lost_before_the_manifest_or_marker_leaves_it_unwritten(
    life: Any, name: str
) -> None:
    life.begin(SMALL)
    nth = {"manifest": 1, "marker": 2}[name]
    key = hashlib.sha256(b"").hexdigest() if name == "marker" else None

    def take_over() -> bool:
        life.world.wait(LEASE_SECONDS + 1)
        now = life.world.clock.now_micros()
        claim = life.world.ledger.claim
        return claim(now_micros=now, lease_micros=10**6, destination_limit=2) is not None

    def another_takes_over() -> None:
        # The holder's own renewal may come between the end of its lease and the claim.
        assert any(take_over() for _ in range(TAKE_OVERS_MAX))

    life.faults.play("PutObject", play.after(another_takes_over), nth=nth)

    assert life.world.exporter().deliver_next()

    assert len(written(life)) == nth
    assert key not in {one.sha256 for one in written(life)}
    drive(life.world, life.world.exporter())
    life.prove()
