"""`GET /api/2/export` as a client sees it; what is found is told by a book of the test's own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tailrace.collect import export_api, outflow, runtime
from tailrace.collect.export_found import (
    Hours,
    Missing,
    NoData,
    NotClosed,
    NotKept,
    NotOver,
    TooMuch,
    Zip,
)
from tailrace.errors import Corrupt, Transient
from tailrace.hours import Hour

KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "fedcba9876543210fedcba9876543210"
SECRET = "the secret key of every project"
PRESENT = Hour.parse("2026-11-23T13")
PIECE = b"x" * 262_144
RANGE = "start=20261122T00&end=20261122T23"
ASKED = Hours(Hour.parse("2026-11-22T00"), Hour.parse("2026-11-22T23"))


class Content:
    """A body of some pieces, which may end in an error."""

    def __init__(self, pieces: int, error: Exception | None = None) -> None:
        self.length = len(PIECE) * (pieces + (error is not None))
        self.through = ASKED.last
        self.read_bytes = 0
        self.closed = threading.Event()
        self._left = pieces
        self._error = error

    def read(self) -> bytes:
        assert not self.closed.is_set()
        if self._left:
            self._left -= 1
            self.read_bytes += len(PIECE)
            return PIECE
        if self._error is not None:
            raise self._error
        return b""

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


class Exports:
    """Whatever a test lets be found."""

    def __init__(self) -> None:
        self.found: Callable[[], Zip | Missing] = lambda: Content(3)
        self.asked: list[tuple[int, Hours]] = []
        self.error: Exception | None = None

    def present(self) -> Hour:
        return PRESENT

    def secret_key_is(self, project: int, secret_key: str) -> bool:
        if self.error is not None:
            raise self.error
        return secret_key == SECRET

    def find(self, project: int, hours: Hours) -> Zip | Missing:
        self.asked.append((project, hours))
        return self.found()


@pytest.fixture
def exports() -> Exports:
    return Exports()


@pytest.fixture
def served(serve: Any, exports: Exports) -> Any:
    started = serve(exports=exports)
    started.accounts.keys[OTHER_KEY] = type(started.accounts.keys[KEY])(100001, 300002)
    started.accounts.number += 1
    return started


def basic(api_key: str = KEY, secret_key: str = SECRET) -> str:
    return "Basic " + base64.b64encode(f"{api_key}:{secret_key}".encode()).decode()


def ask(served: Any, query: str = RANGE, method: str = "GET", **headers: str) -> Any:
    given = {"Authorization": basic(), **headers}
    return served.request(method, f"/api/2/export?{query}", headers=given)


@contextlib.contextmanager
def not_reading(
    served: Any, api_key: str = KEY, window_bytes: int | None = 4096
) -> Iterator[socket.socket]:
    """Ask, and read the head alone."""
    with contextlib.closing(socket.socket()) as connection:
        if window_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        connection.settimeout(20)
        connection.connect(served.address)
        head = f"GET /api/2/export?{RANGE} HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(f"{head}Authorization: {basic(api_key)}\r\n\r\n".encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        yield connection


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does in a moment."""
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert true()


def running(served: Any) -> int:
    count: int = served.collector._exports.running
    return count


def test_a_range_comes_as_one_body_and_the_connection_goes_on(
    served: Any, exports: Exports
) -> None:
    content = Content(40)
    exports.found = lambda: content
    host, port = served.address
    connection = http.client.HTTPConnection(host, port, timeout=20)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("GET", f"/api/2/export?{RANGE}", headers={"Authorization": basic()})
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.getheader("content-type") == "application/zip"
            assert answer.getheader("content-length") == str(content.length)
            assert answer.getheader("x-tailrace-through") == "20261122T23"
            assert answer.getheader("content-disposition") == (
                'attachment; filename="300001_20261122T00_20261122T23.zip"'
            )
            assert answer.read() == PIECE * 40
            until(content.closed.is_set)
            content = Content(40)
    assert exports.asked == [(300001, ASKED)] * 2
    assert running(served) == 0
    assert served.counters.exports_cut == served.counters.disconnected == 0


def test_requests_behind_an_export_are_answered_after_it(
    served: Any, exports: Exports, upload: Callable[..., dict[str, Any]]
) -> None:
    head = f"GET /api/2/export?{RANGE} HTTP/1.1\r\nAuthorization: {basic()}\r\nHost: x\r\n"

    answers = served.raw(f"{head}\r\n".encode() * 2, f"{head}Connection: close\r\n\r\n".encode())

    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.count(PIECE) == 9
    assert answers.endswith(PIECE * 3)
    assert running(served) == 0


def test_an_old_client_gets_the_body_and_the_end_of_the_connection(served: Any) -> None:
    answer = served.raw(
        f"GET /api/2/export?{RANGE} HTTP/1.0\r\nAuthorization: {basic()}\r\n\r\n".encode()
    )

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in head
    assert body == PIECE * 3


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer x",
        "Basic !",
        basic(secret_key="wrong"),
        basic(api_key="unknown"),
        basic(api_key=""),
        "Basic " + base64.b64encode(KEY.encode()).decode(),
    ],
)
def test_wrong_keys_are_refused_alike(served: Any, exports: Exports, given: str) -> None:
    answer = ask(served, Authorization=given)

    assert (answer.status, answer.body) == (403, b"Invalid API Key")
    assert exports.asked == []


def test_keys_are_asked_for_before_the_range_is_looked_at(served: Any) -> None:
    assert ask(served, "start=x", Authorization=basic(secret_key="wrong")).status == 403


def test_keys_that_cannot_be_looked_up_now_are_not_called_wrong(
    served: Any, exports: Exports
) -> None:
    exports.error = Transient("The database is busy.")

    answer = ask(served)

    assert answer.status == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "start is missing: it must be an hour of UTC written as YYYYMMDDTHH"),
        ("end=20261122T00", "start is missing"),
        ("start=20261122T00", "end is missing"),
        ("start=&end=20261122T00", "start is ''"),
        ("start=20261122&end=20261122T00", "start is '20261122'"),
        ("start=20261122T0&end=20261122T00", "start is '20261122T0'"),
        ("start=20261122T24&end=20261123T00", "start is '20261122T24'"),
        ("start=20261131T00&end=20261201T00", "start is '20261131T00'"),
        ("start=2026-11-22T00&end=20261122T00", "start is '2026-11-22T00'"),
        ("start=20261122T00&end=20261122T00Z", "end is '20261122T00Z'"),
        ("start=20261122T00&end=%20261122T01", "end is ' 261122T01'"),
        ("start=20261122T00&end=%ff", "end is '\ufffd'"),
        ("start=00000101T00&end=20261122T00", "start is '00000101T00'"),
        ("start=20261122T00&end=20261121T23", "end is before start"),
        ("start=20251122T00&end=20261123T00", "more than 366 days"),
        ("start=20261123T14&end=20261123T15", "start is in the future: it is 20261123T13 now"),
        ("start=20261122T00&end=20261122T00&end=20261122T01", "start and end once each"),
    ],
)
def test_a_bad_range_is_refused_with_field_and_rule(
    served: Any, exports: Exports, query: str, says: str
) -> None:
    answer = ask(served, query)

    assert answer.status == 400
    assert says in answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain")
    assert exports.asked == []
    assert running(served) == 0


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ("start=20251122T00&end=20261122T23", 366 * 24),
        ("start=20261123T13&end=20261123T13", 1),
        ("start=20261123T13&end=20270101T00", 924),
    ],
)
def test_ranges_at_the_limits_are_looked_up(
    served: Any, exports: Exports, query: str, hours: int
) -> None:
    assert ask(served, query).status == 200
    ((_, asked),) = exports.asked
    assert asked.last.number - asked.first.number + 1 == hours


HOUR = Hour.parse("2026-11-22T05")


@pytest.mark.parametrize(
    ("missing", "status", "says", "retry"),
    [
        (NoData(ASKED), 404, "Raw data files were not found.", None),
        (NotClosed(ASKED, HOUR, False), 503, "Hour 2026-11-22T05 is not sealed yet.", "30"),
        (NotClosed(ASKED, HOUR, True), 503, "Hour 2026-11-22T05 can't be sealed", "30"),
        (NotOver(ASKED, HOUR, 600), 503, "goes on until 2026-11-22T06:00 UTC", "630"),
        (NotKept(ASKED, (HOUR,)), 410, "Hour 2026-11-22T05 is not kept", None),
        (
            NotKept(ASKED, (HOUR, HOUR.plus(2))),
            410,
            "2 hours from 2026-11-22T05 to 2026-11-22T07 are not kept",
            None,
        ),
        (
            TooMuch(ASKED, 2, 10, 5_000_000_000, 4_294_967_296),
            400,
            "5,000,000,000 bytes, and an export at most 4,294,967,296",
            None,
        ),
        (TooMuch(ASKED, 11, 10, 11, 20), 400, "11 files, and an export at most 10", None),
    ],
)
def test_why_there_is_no_zip_is_said(
    served: Any, exports: Exports, missing: Missing, status: int, says: str, retry: str | None
) -> None:
    exports.found = lambda: missing

    answer = ask(served)

    assert answer.status == status
    assert says in answer.body.decode()
    assert answer.headers.get("retry-after") == retry
    assert running(served) == 0


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (Transient("busy"), 503, "can't be looked up"),
        (OSError(24, "Too many open files", "/srv/secret/place"), 503, "can't be opened"),
        (Corrupt("Cannot export hour 2026-11-22T05: it is gone."), 500, "hour 2026-11-22T05"),
    ],
)
def test_a_look_that_fails_is_no_empty_range(
    served: Any, exports: Exports, error: Exception, status: int, says: str
) -> None:
    def fail() -> Missing:
        raise error

    exports.found = fail

    answer = ask(served)

    assert answer.status == status
    assert says in answer.body.decode()
    assert b"secret" not in answer.body
    assert running(served) == 0


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
def test_only_get_is_served(served: Any, method: str) -> None:
    answer = ask(served, method=method)

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, OPTIONS"


def test_without_files_the_path_is_unknown(server: Any) -> None:
    assert ask(server).status == 400
    assert b"Invalid request path" in ask(server).body


@pytest.mark.parametrize(
    "error", [Corrupt("it is not what was sealed"), OSError(5, "Input/output")]
)
def test_a_failure_in_the_middle_ends_the_connection_early(
    served: Any, exports: Exports, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    content = Content(10, error)
    exports.found = lambda: content

    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(served)

    until(content.closed.is_set)
    assert running(served) == 0
    assert served.counters.exports_cut == 1
    assert caplog.records == []


def test_a_client_that_leaves_frees_everything(served: Any, exports: Exports) -> None:
    content = Content(4000)
    exports.found = lambda: content
    with not_reading(served):
        assert running(served) == 1
    until(content.closed.is_set)
    assert running(served) == 0
    assert served.counters.disconnected == 1


def test_a_client_that_does_not_read_costs_little_and_is_dropped(
    served: Any, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "WRITE_SECONDS", 0.3)
    content = Content(4000)
    exports.found = lambda: content
    with not_reading(served) as connection:
        until(content.closed.is_set)
        received = len(served.read_all(connection))
    # What the kernel took on the way, and two pieces; a gibibyte was asked for.
    assert content.read_bytes < 16 * 1024 * 1024
    assert received < content.length
    assert running(served) == 0


def test_a_client_that_reads_too_slowly_is_dropped(
    served: Any, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outflow, "BEGIN_SECONDS", 0.2)
    monkeypatch.setattr(outflow, "BYTES_PER_SECOND_MIN", 2**40)
    content = Content(4000)
    exports.found = lambda: content
    with not_reading(served) as connection:
        while not content.closed.is_set():
            # It reads all the time, so that no single piece waits for long.
            connection.recv(65_536)
            time.sleep(0.001)
    assert served.counters.exports_cut == 1
    assert running(served) == 0


def test_a_client_in_time_is_not_dropped_for_the_time_it_has_taken(
    served: Any, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outflow, "BEGIN_SECONDS", 5.0)
    monkeypatch.setattr(runtime, "WRITE_SECONDS", 0.3)
    content = Content(60)
    exports.found = lambda: content
    with not_reading(served) as connection:
        received = 15
        while part := connection.recv(262_144):
            received += len(part)
            time.sleep(0.002)
            if received >= content.length:
                break
    until(content.closed.is_set)
    assert served.counters.exports_cut == 0


def test_a_project_has_two_exports_at_a_time(served: Any, exports: Exports) -> None:
    exports.found = lambda: Content(4000)
    with not_reading(served):
        with not_reading(served):
            refused = ask(served)
            assert refused.status == 429
            assert b"2 exports of this project are under way" in refused.body
            assert refused.headers["retry-after"] == "30"
            with not_reading(served, OTHER_KEY):
                assert running(served) == 3
        until(lambda: running(served) == 1)
        with not_reading(served):
            assert running(served) == 2
    until(lambda: running(served) == 0)


def test_all_projects_together_have_a_limit(
    served: Any, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_api, "EXPORTS_MAX", 1)
    exports.found = lambda: Content(4000)
    with not_reading(served, OTHER_KEY):
        refused = ask(served)
    assert refused.status == 503
    assert b"1 exports are under way here" in refused.body
    assert refused.headers["retry-after"] == "30"


def test_uploads_are_answered_while_exports_are_read_and_not_read(
    served: Any, exports: Exports, upload: Callable[..., dict[str, Any]]
) -> None:
    exports.found = lambda: Content(4000)
    done = threading.Event()

    def read_all() -> None:
        with not_reading(served, OTHER_KEY) as connection:
            while not done.is_set() and connection.recv(1_000_000):
                pass

    reading = threading.Thread(target=read_all)
    reading.start()
    try:
        with not_reading(served):
            slowest = 0.0
            for _ in range(50):
                began = time.monotonic()
                assert served.post(upload()).status == 200
                slowest = max(slowest, time.monotonic() - began)
    finally:
        done.set()
        reading.join(20)
    # Generous, for a busy machine; a loop that reads files itself, or waits for a reader, hangs.
    assert slowest < 5
    assert len(served.records) == 50


@pytest.mark.slow  # a stop waits for five seconds
def test_a_stop_ends_exports(
    served: Any, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = Content(4000)
    exports.found = lambda: content
    with not_reading(served) as connection:
        served.stop()
        assert len(served.read_all(connection)) < content.length
    assert content.closed.is_set()
