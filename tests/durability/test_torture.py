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

import pytest

from tailrace.clock import SteppedClock
from tailrace.demo import seaweed
from tailrace.ids import SystemIds
from torture.defects import DEFECTS, Defect, broken_source
from torture.load import Load
from torture.points import kill_points
from torture.report import table
from torture.run import Options, torture

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
