"""The real SDK against an HTTP server that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tailrace.clock import SteppedClock
from tailrace.demo.shop import send

NOW = 1_767_362_375_000_000


class Collector:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.on_request: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.paths.add(self.path)
                collector.events += body["events"]
                for act in collector.on_request:
                    act()
                answer = b'{"code":200}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/2/httpapi"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_every_event_is_answered_and_counted(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = send(
        collector.url, "key", clock=SteppedClock(NOW), events_max=1200, until_micros=NOW + 1
    )

    assert (summary.sent, summary.refused) == (1200, 0)
    assert len(collector.events) == 1200
    assert len({event["insert_id"] for event in collector.events}) == summary.distinct
    assert 1200 > summary.distinct > 1150
    assert collector.paths == {"/2/httpapi"}
    assert capsys.readouterr().out.split() == ["500", "1000", "1200"]


def test_the_shop_stops_when_the_clock_says_so(collector: Collector) -> None:
    clock = SteppedClock(NOW)
    collector.on_request.append(lambda: clock.advance(1_000_000))

    summary = send(collector.url, "key", clock=clock, events_max=5000, until_micros=NOW + 1)

    assert summary.sent == 500
    assert len(collector.events) == 500
