"""The overview of two weeks: bytes, first byte on loopback, CPU, statements, ticks of a minute."""

from __future__ import annotations

import gzip
import http.client
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import uvicorn
from argon2.profiles import CHEAPEST
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.paired import Figure, figure
from benchmarks.report import Bar
from tailrace.accounts.passwords import Passwords
from tailrace.app.recent import RecentEvents
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.ops.status import StatusReader
from tailrace.settings import Settings
from tailrace.state.database import open_database
from tailrace.web.attempts import Attempts
from tailrace.web.site import Site
from tailrace.web.static_files import FOLDER, StaticFiles
from tests.web.conftest import Place
from tests.web.exporting import Exporting

DAYS = 14
REQUESTS_WARM = 5
REQUESTS = 200
REQUESTS_QUICK = 40
TICKS_USED = 60 // 5
TICKS_IDLE = 60 // 30
EMAIL = "dana@acme.example"
START_SECONDS = 10.0

BARS = [
    Bar("script, compressed", 20_480, most=True),
    Bar("style sheet, compressed", 6_144, most=True),
    Bar("overview of 14 days, compressed", 15_360, most=True),
    Bar("first byte of the overview", 50, most=True, note="of a connection that is open"),
    Bar("ticks of a minute, page in use", 10_240, most=True, note="the answers"),
    Bar("ticks of a minute, page idle", 2_048, most=True, note="the answers"),
]
_SINCE = re.compile(r'id="overview-since"[^>]*value="([^"]*)"')


class Answer(msgspec.Struct, frozen=True):
    """One answer over the socket; `first_ms` is wall clock until its headers were there."""

    status: int
    body: bytes
    head_bytes: int
    first_ms: float


class Visits:
    """Requests of a person who is signed in, over one open connection."""

    def __init__(self, port: int, cookie: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        self._headers = {"Cookie": cookie, "Accept-Encoding": "gzip"}

    def get(self, path: str) -> Answer:
        """Ask once, and read the whole answer."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        first_ms = (time.perf_counter() - began) * 1000
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n\r\n"
        lines = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
        return Answer(answer.status, answer.read(), len(head) + lines, first_ms)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure(now_micros: int, share: float, folder: Path) -> tuple[list[Figure], list[str]]:
    """Serve two weeks of hours, and ask for them."""
    clock = SteppedClock(now_micros)
    with _site(folder / "pages", clock) as site:
        place = Place(site)
        path = _fill(place, Hour.of_micros(now_micros))
        cookies = place.visitor(EMAIL).client.cookies
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        with _served(place) as port, closing(Visits(port, cookie)) as visits:
            return _figures(visits, site.engine, path, round(REQUESTS * max(share, 0.2))), []


def _figures(visits: Visits, engine: Engine, path: str, requests: int) -> list[Figure]:
    pages = [visits.get(path) for _ in range(REQUESTS_WARM)]
    since = _SINCE.search(gzip.decompress(pages[0].body).decode())
    assert since is not None, "the overview does not say what it has shown"
    tick = visits.get(f"{path}/live?days={DAYS}&since={since[1]}")
    assert (pages[0].status, tick.status) == (200, 204), "not the answers of a page that rests"
    statements = [0]
    event.listen(engine, "before_cursor_execute", lambda *_: _count(statements))
    first, cpu = [], []
    for _ in range(requests):
        began = time.process_time() - time.thread_time()
        first.append(visits.get(path).first_ms)
        cpu.append((time.process_time() - time.thread_time() - began) * 1000)
    answer = tick.head_bytes + len(tick.body)
    scripts = [FOLDER / "tailrace.js", *sorted((FOLDER / "vendor").glob("*.js"))]
    slowest = sorted(first)[round(0.95 * (requests - 1))]
    return [
        figure("script, compressed", "bytes", [sum(_weight(one) for one in scripts)]),
        figure("style sheet, compressed", "bytes", [_weight(FOLDER / "tailrace.css")]),
        figure("overview of 14 days, compressed", "bytes", [len(pages[0].body)]),
        figure("first byte of the overview", "ms wall", first),
        figure("first byte of the overview, 95 %", "ms wall", [slowest]),
        figure("overview", "ms CPU", cpu),
        figure("statements of the overview", "", [statements[0] / requests]),
        figure("ticks of a minute, page in use", "bytes", [TICKS_USED * answer]),
        figure("ticks of a minute, page idle", "bytes", [TICKS_IDLE * answer]),
    ]


def _count(statements: list[int]) -> None:
    statements[0] += 1


def _weight(path: Path) -> int:
    return len(gzip.compress(path.read_bytes()))


def _fill(place: Place, now: Hour) -> str:
    place.add(EMAIL)
    exporting = Exporting(place.site, place.organization, place.project)
    made = exporting.activate(exporting.add())
    first = now.plus(-DAYS * 24)
    exporting.destinations.set_interval(made.id, first, None)
    for hour in Hour.range(first, now):
        exporting.seal(hour, lines=1000 + 37 * (hour.number % 91))
    exporting.deliver()
    return f"/p/{place.project}/destinations/{made.id}"


@contextmanager
def _site(path: Path, clock: SteppedClock) -> Iterator[Site]:
    folder, ids = DataFolder(path), SystemIds()
    folder.create(Files())
    engine = open_database(folder.database)
    recent = RecentEvents(folder.log)
    try:
        yield Site(
            folder=folder,
            engine=engine,
            settings=Settings(),
            clock=clock,
            machine_clock=clock,
            ids=ids,
            passwords=Passwords(ids, CHEAPEST),
            attempts=Attempts(clock),
            recent=recent,
            static=StaticFiles(),
            read_status=StatusReader(folder, engine, clock).read,
            collect_url=lambda: "http://127.0.0.1:8585",
        )
    finally:
        recent.close()
        engine.dispose()


@contextmanager
def _served(place: Place) -> Iterator[int]:
    config = uvicorn.Config(
        place.app, port=0, http="httptools", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run)
    serving.start()
    try:
        until = time.monotonic() + START_SECONDS
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        serving.join(START_SECONDS)
