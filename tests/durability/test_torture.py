"""The short form of `make torture`, and what makes both forms worth believing.

A run takes about a minute: a service has to live through half a day, thirty kills and their
restarts. `make torture` does a thousand, and has to kill at every point.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tailrace.clock import SteppedClock
from tailrace.demo import seaweed
from tailrace.ids import SystemIds
from torture.buckets import CHANGES
from torture.defects import DEFECTS, Defect, broken_source
from torture.load import Load
from torture.points import kill_points
from torture.proof import Sums
from torture.report import table
from torture.run import Options, Result, torture, undone
from torture.service import ROLES

KILLS = 30
# An hour of the service in ten seconds.
RATE = 360
# On a busy machine there are fewer kills instead of a longer test.
SECONDS_MAX = 45.0
WAIT_SECONDS = 20


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_still_has_its_place_in_the_source(defect: Defect, tmp_path: Path) -> None:
    source = broken_source(defect, tmp_path)
    for name, _, _ in defect.changes:
        path = source / "tailrace" / name
        compile(path.read_text(encoding="utf-8"), name, "exec")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by Linux's /proc")
@pytest.mark.skipif(seaweed.find_program() is None, reason="there is no local S3 server here")
def test_thirty_kills_lose_and_double_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int.from_bytes(SystemIds().random_bytes(4), "big")
    print(f"seed {seed}")
    result = torture(Options(kills=KILLS, seed=seed, rate=RATE, seconds_max=SECONDS_MAX), print)
    print(table(result))
    assert result.faults == []
    assert result.sums.acknowledged
    # Some dozen die at their births; the killing begins after that.
    assert result.kills > KILLS // 2
    assert sum(result.at_random.values())
    assert result.at_points


def test_every_kill_point_of_the_source_is_known() -> None:
    points = kill_points()
    assert {"log.synced", "pack.renamed", "seal.file.durable", "file.written"} <= set(points)


def test_a_kill_point_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text('killpoints.reached("log." + "new")\n')
    with pytest.raises(ValueError, match="1 calls"):
        kill_points(tmp_path)


def test_a_long_run_that_left_something_out_proves_nothing_of_it() -> None:
    done = Result(
        seed=1,
        kills=1000,
        hours=50.0,
        seconds=3000.0,
        at_points={},
        at_random=dict.fromkeys(ROLES, 1),
        restarts=1,
        never_reached=[],
        never_killed=[],
        changes=dict.fromkeys(CHANGES, 1),
        sums=Sums(),
        sealed_hours=1,
        objects=1,
        unfinished_uploads=0,
        faults=[],
    )
    assert undone(done, 1000) == []
    lacking: list[tuple[dict[str, Any], str]] = [
        ({"kills": 999}, "only 999 kills instead of 1000"),
        ({"restarts": 0}, "never: restarted in order"),
        ({"changes": {**done.changes, "removed": 0}}, "never: removed"),
        ({"at_random": {**done.at_random, "web": 0}}, "never: killed web at random"),
        ({"never_killed": ["log.synced"]}, "never: killed at log.synced"),
    ]
    for lacks, told in lacking:
        assert undone(msgspec.structs.replace(done, **lacks), 1000) == [told]


class Wrong(BaseHTTPRequestHandler):
    """A collector that says of each request that it took nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b'{"code":200,"events_ingested":0,"server_upload_time":1}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        return


def test_a_client_that_hears_of_another_number_than_it_sent_is_a_fault() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Wrong)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    service: Any = SimpleNamespace(address=server.server_address, clock=SteppedClock(0))
    load = Load(service, {1: "key"}, seed=1, clients=1)
    load.start()
    for thread in load._threads:
        thread.join(WAIT_SECONDS)
    server.shutdown()
    server.server_close()
    (fault,) = load.failures
    assert "client 0 ended" in fault
    assert "events were sent" in fault
