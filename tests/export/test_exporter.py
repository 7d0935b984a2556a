"""What the workers do: side by side, newest hour first, until they are stopped."""

from __future__ import annotations

import gzip
import os
import threading
from typing import Any

import pytest

from tailrace.demo import seaweed
from tailrace.errors import LeaseLost
from tailrace.export import exporter as exporter_module
from tailrace.export.deliver import LEASE_SECONDS
from tailrace.hours import Hour
from tailrace.state.ledger import Ledger

MIB = 1024**2
DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)


def test_a_broken_bucket_delays_no_other(world: Any, bucket: str, server: seaweed.Seaweed) -> None:
    other = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(other)
    server.put_policy(other, seaweed.export_policy("exports/"))
    broken, fine = world.add_destination(bucket), world.add_destination(other)
    server.put_policy(bucket, {"s3:ListBucket": [""]})
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()

    while exporter.deliver_next():
        pass

    states = {run.destination_id: run.state for run in world.ledger.runs()}
    assert states == {broken.id: "retrying", fine.id: "success"}


def test_a_store_that_never_ends_an_answer_is_given_no_further_worker(
    world: Any, bucket: str, server: seaweed.Seaweed, proxy: Any
) -> None:
    other = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(other)
    server.put_policy(other, seaweed.export_policy("exports/"))
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))
    hangs, ends = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        ends.wait(30)

    proxy.add("PUT", "%231", before=hang)
    exporter = world.exporter(per_destination=1)
    worker = threading.Thread(target=exporter.deliver_next)
    worker.start()
    assert hangs.wait(30)
    world.wait(LEASE_SECONDS + 1)
    fine = world.add_destination(other)

    taken = [exporter.deliver_next() for _ in range(3)]

    ends.set()
    worker.join()
    assert taken == [True, False, False]
    states = {run.destination_id: run.state for run in world.ledger.runs()}
    assert states[fine.id] == "success"
    states = {run.destination_id: run.state for run in world.ledger.runs()}
    assert list(states.values()) == ["success", "success"], "the answer came at last"


def test_the_newest_hour_goes_first(world: Any, bucket: str, proxy: Any) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    for number in (1, 3, 2):
        hour = world.hour.day_start().plus(number)
        world.seal(world.put_file(1, DATA, hour), hour=hour)
    exporter = world.exporter()

    while exporter.deliver_next():
        pass

    files = [line for line in proxy.requests if line.startswith("PUT") and "%231" in line]
    assert [line.split("%231")[0][-2:] for line in files] == ["_3", "_2", "_1"]


def test_workers_deliver_until_they_are_stopped(
    world: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "IDLE_SECONDS", 0.01)
    world.add_destination(bucket)
    hours = [world.hour.day_start().plus(number) for number in range(4)]
    for hour in hours:
        world.seal(world.put_file(1, DATA, hour), hour=hour)
    done = threading.Semaphore(0)

    class TellingLedger(Ledger):
        def succeeded(self, held: Any, now_micros: int) -> None:
            super().succeeded(held, now_micros)
            done.release()

    exporter = world.exporter(TellingLedger(world.engine, world.clock))
    exporter.start()
    try:
        for _ in hours:
            assert done.acquire(timeout=60)
    finally:
        assert exporter.stop(timeout_seconds=30)
    assert {run.state for run in world.ledger.runs()} == {"success"}


def test_a_stop_in_the_middle_of_an_upload_lets_the_run_go_at_once(
    world: Any, bucket: str, proxy: Any
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, os.urandom(20 * MIB)))
    exporter = world.exporter()
    proxy.add("PUT", "partNumber=1", before=lambda: exporter.stop())

    exporter.deliver_next()

    assert world.run().state == "pending"
    assert not [line for line in proxy.requests if "partNumber=2" in line]
    assert world.exporter().deliver_next(), "due at once for the next start"
    assert world.run().state == "success"


def test_trouble_with_the_ledger_ends_no_worker(
    world: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(exporter_module, "TROUBLE_SECONDS", 0.01)
    world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    done = threading.Event()
    troubles: list[int] = []

    class TroubledLedger(Ledger):
        def claim(self, **limits: Any) -> Any:
            if len(troubles) < 5:
                troubles.append(1)
                raise OSError("disk I/O error")
            return super().claim(**limits)

        def succeeded(self, held: Any, now_micros: int) -> None:
            super().succeeded(held, now_micros)
            done.set()

    exporter = world.exporter(TroubledLedger(world.engine, world.clock))
    exporter.start()
    try:
        assert done.wait(60)
    finally:
        assert exporter.stop(timeout_seconds=30)


def test_idle_workers_look_for_runs_one_for_all(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "IDLE_SECONDS", 0.001)
    looks: list[str] = []
    enough = threading.Event()

    class WatchedLedger(Ledger):
        def claim(self, **limits: Any) -> Any:
            looks.append(threading.current_thread().name)
            if len(looks) >= 30:
                enough.set()
            return super().claim(**limits)

    exporter = world.exporter(WatchedLedger(world.engine, world.clock))
    exporter.start()
    try:
        assert enough.wait(60)
    finally:
        assert exporter.stop(timeout_seconds=30)
    assert len({name for name in looks if looks.count(name) > 1}) == 1


def test_busy_workers_deliver_at_the_same_time(world: Any, bucket: str) -> None:
    world.add_destination(bucket)
    world.seal()
    world.seal(hour=world.hour.next())
    together = threading.Barrier(2)
    done = threading.Semaphore(0)

    class MeetingLedger(Ledger):
        def files(self, held: Any) -> Any:
            together.wait(30)
            return super().files(held)

        def succeeded(self, held: Any, now_micros: int) -> None:
            super().succeeded(held, now_micros)
            done.release()

    exporter = world.exporter(MeetingLedger(world.engine, world.clock))
    exporter.start()
    try:
        assert done.acquire(timeout=60)
        assert done.acquire(timeout=60)
    finally:
        assert exporter.stop(timeout_seconds=30)


def test_a_lost_lease_ends_the_work_and_not_the_worker(world: Any, bucket: str) -> None:
    world.add_destination(bucket)
    world.seal()

    class LosingLedger(Ledger):
        def renew(self, held: Any, until_micros: int, *, now_micros: int) -> None:
            raise LeaseLost("Lost.")

    assert world.exporter(LosingLedger(world.engine, world.clock)).deliver_next()
    assert world.run().state == "running"


def test_derived_rows_are_checked_each_minute_and_all_of_them_each_hour(world: Any) -> None:
    looks: list[Hour | None] = []

    class WatchedLedger(Ledger):
        def check_derived(self, since: Hour | None = None) -> int:
            looks.append(since)
            return super().check_derived(since)

    exporter = world.exporter(WatchedLedger(world.engine, world.clock))
    for _ in range(2 * 62):
        exporter.look_after()
        world.wait(30)
    assert len(looks) == 62
    assert [number for number, since in enumerate(looks) if since is None] == [0, 60]
    assert looks[1] == Hour.of_micros(world.clock.now_micros()).plus(-8 * 24 - 1)
