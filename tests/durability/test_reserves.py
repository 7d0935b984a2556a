"""A real service on a small file system of its own that fills step by step, and empties again."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.folder import DataFolder
from tailrace.log.reader import LogReader
from tailrace.ops.heartbeats import read_heartbeats
from tailrace.state.database import open_database
from tailrace.state.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
"""A real hour has to end under real processes."""

DISK_BYTES = 160 * 1024**2
# Some seconds in which every part meets the full disk: beats are due every two.
FULL_LOOKS = 40
# Far apart, so that what the service itself writes moves it from one into no other.
RESERVES = {
    "TAILRACE_DISK_FIRST_PERCENT": "70",
    "TAILRACE_DISK_SECOND_PERCENT": "50",
    "TAILRACE_DISK_THIRD_PERCENT": "25",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty ext4 file system, mounted where the data folder will be."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs to make and mount a file system")
    image, folder = tmp_path / "disk", tmp_path / "data"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"can't mount a file system here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def leave_free(disk: Path, percent: float) -> None:
    """Let a file of ballast take all but so much of the disk; 0 leaves not a byte."""
    ballast = disk / "lost+found" / "ballast"
    ballast.unlink(missing_ok=True)
    status = os.statvfs(disk)
    wanted = int(status.f_blocks * status.f_frsize * percent / 100)
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, max(1, status.f_bavail * status.f_frsize - wanted))
    except OSError:
        # What the file system needs for itself is missing at the end.
        assert percent == 0
    finally:
        os.close(descriptor)
    if percent == 0:
        _take_the_rest(ballast)


def _take_the_rest(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def post(rig: Any, request: int) -> int:
    """Send one event; return the answer's status, 0 if none came."""
    event = {"event_type": "later", "user_id": "later", "insert_id": f"later-{request}"}
    host, port = rig.collector()
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(
            "POST", "/batch", json.dumps({"api_key": rig.api_key, "events": [event]})
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def reserves_broken(rig: Any) -> float:
    for beat in read_heartbeats(DataFolder(rig.data).run):
        if beat.part == "processor":
            return beat.counters.get("disk_reserves_broken", -1)
    return -1


def beats(rig: Any) -> list[int]:
    return [beat.beat_micros for beat in read_heartbeats(DataFolder(rig.data).run)]


def is_sealed(rig: Any) -> bool:
    engine = open_database(DataFolder(rig.data).database)
    try:
        return rig.project in Ledger(engine, DataFolder(rig.data).clock()).newest_sealed()
    finally:
        engine.dispose()


def later_requests(rig: Any) -> list[int]:
    """Return the numbers of the later requests that the log holds."""
    reader = LogReader(DataFolder(rig.data).log)
    found, position = [], 0
    while entries := reader.read(1, position, 1 << 20):
        for entry in entries:
            if entry.record is not None and b'"later"' in entry.record.body:
                (event,) = json.loads(entry.record.body)["events"]
                found.append(int(event["insert_id"].removeprefix("later-")))
        position = entries[-1].next_position
    reader.close()
    return found


def test_each_reserve_stops_what_it_should_and_all_of_it_heals(
    disk: Path, make_rig: Callable[..., Any], make_load: Callable[..., Any]
) -> None:
    rig = make_rig(**RESERVES)
    rig.serve()
    load = make_load(rig, events=5, requests_max=20)
    load.run(clients=2)
    assert len(load.acknowledged) == 40

    # Under the second reserve uploads get 503, while the hour ends and is sealed.
    leave_free(disk, 40)
    rig.wait_for(lambda: post(rig, 0) == 503)
    rig.wait_for(lambda: reserves_broken(rig) == 2)
    rig.wait_for(lambda: is_sealed(rig))
    assert post(rig, 1) == 503

    # Under the third one only deliveries go on.
    leave_free(disk, 15)
    rig.wait_for(lambda: reserves_broken(rig) == 3)
    assert post(rig, 2) == 503
    rig.add_destination()
    rig.wait_for_marker()
    lines = rig.exported_lines()
    load.prove([line for line in lines if line["event_type"] != "later"])
    # The level is looked at once a second, so the first may have been taken; never twice.
    assert sum(line["event_type"] == "later" for line in lines) <= 1

    # On a disk that is really full nothing is answered 200, and the service stays.
    leave_free(disk, 0)
    beaten = beats(rig)
    for _ in range(FULL_LOOKS):
        assert post(rig, 3) in (0, 503)
        threading.Event().wait(0.1)
    assert beats(rig) == beaten, "nobody could write, not even a beat"

    leave_free(disk, 90)
    rig.wait_for(lambda: post(rig, 4) == 200)
    assert post(rig, 5) == 200
    rig.wait_for(lambda: reserves_broken(rig) == 0)
    assert rig.deaths() == []
    assert rig.stop() == 0
    assert [request for request in later_requests(rig) if request] == [4, 5]
