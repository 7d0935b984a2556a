"""One collector process: limits on connections, a clean stop, and a real log behind it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
import weakref
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tailrace.clock import SystemClock
from tailrace.collect import runtime
from tailrace.collect.limits import Limits
from tailrace.files import Files
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter

Upload = Callable[..., dict[str, Any]]


def request(body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    return b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


def test_a_request_in_flight_is_answered_when_the_collector_stops(
    serve: Any, upload: Upload, stamp: int
) -> None:
    asked, durable = threading.Event(), asyncio.Event()

    async def append(record: Record) -> int:
        asked.set()
        await durable.wait()
        return stamp

    served = serve(append=append)
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(request(upload()))
        assert asked.wait(10)
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        served.loop.call_soon_threadsafe(lambda: served.loop.call_later(0.2, durable.set))

        assert served.read_all(connection).startswith(b"HTTP/1.1 200 ")
        stopping.join(20)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(served.address, timeout=1)


@pytest.mark.parametrize(
    ("behind", "answered"), [(0, 1), (2, 3)], ids=["alone", "others behind it"]
)
@pytest.mark.parametrize("rest", [b"", b"POST /batch", b"POST /batch HTTP/1.1\r\n\r\n"])
def test_a_client_that_sends_no_more_gets_its_answers(
    serve: Any, upload: Upload, behind: int, answered: int, rest: bytes
) -> None:
    async def append(record: Record) -> int:
        await asyncio.sleep(0.05)  # the disk's time, in which the end of the sending is seen
        return 7_000_000

    served = serve(append=append)

    answers = served.raw(request(upload()) * (1 + behind) + rest, half_close=True)

    complete = answered + (rest.endswith(b"\r\n\r\n"))
    assert answers.count(b"HTTP/1.1") == complete
    assert answers.count(b"HTTP/1.1 200 ") == answered


def test_a_client_that_sends_no_more_of_a_request_is_left(serve: Any, upload: Upload) -> None:
    served = serve()

    assert served.raw(request(upload())[:-1], half_close=True) == b""
    assert served.records == []


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
@pytest.mark.parametrize("cut", [0, 40, 500])
@pytest.mark.parametrize("before", [0, 2])
def test_the_offer_of_another_protocol_changes_nothing(
    serve: Any, upload: Upload, protocol: bytes, cut: int, before: int
) -> None:
    served = serve()
    plain = request(upload(more="x" * 1000))
    offer = plain.replace(b"Host: x", b"Connection: Upgrade\r\nUPGRADE: %s\r\nHost: x" % protocol)
    sent = plain * before + offer * 2 + plain

    with socket.create_connection(served.address, timeout=5) as connection:
        connection.sendall(sent[: len(sent) - cut])
        time.sleep(0.02 if cut else 0)  # so that the rest comes in another read
        connection.sendall(sent[len(sent) - cut :])
        answers = b""
        while answers.count(b"events_ingested") < before + 3:
            answers += connection.recv(65_536)

    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"HTTP/1.1") == before + 3
    assert {record.body for record in served.records} == {plain.partition(b"\r\n\r\n")[2]}


def test_nothing_is_connected(server: Any) -> None:
    for target, status in ((b"example:80", b"400"), (b"/batch", b"405")):
        answer = server.raw(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)

        assert answer.split()[1] == status


def test_idle_connections_do_not_hold_up_the_stop(serve: Any) -> None:
    served = serve()
    with socket.create_connection(served.address, timeout=20) as connection:
        served.stop()
        assert connection.recv(1) == b""


@pytest.mark.parametrize("sent", [b"", b"POST /batch HTTP/1.1\r\nHost:", b"\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(
    serve: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(runtime, "HEAD_SECONDS", 0.05)
    served = serve()

    assert served.raw(sent) == b""


def test_line_ends_behind_an_answer_keep_no_connection_open(
    serve: Any, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "HEAD_SECONDS", 0.05)
    served = serve()
    with socket.create_connection(served.address, timeout=5) as connection:
        connection.sendall(request(upload()))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")

        connection.sendall(b"\r\n")

        assert connection.recv(1) == b""


def test_a_head_without_end_is_refused(server: Any) -> None:
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(b"POST /batch HTTP/1.1\r\nHost: x\r\nX-Long: ")
        try:
            for _ in range(40):
                connection.sendall(b"x" * 65_536)
        except OSError:
            pass
        answer = server.read_all(connection)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("trailers", [b"x" * 65_536, b"a: b\r\n" * 10_000])
def test_trailers_without_end_are_refused(server: Any, trailers: bytes) -> None:
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(b"POST /batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"1\r\n{\r\n0\r\n")
        # Far more than what the kernel takes on the way without the server reading it.
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(trailers * 1000)
        answer = server.read_all(connection)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_a_long_body_in_short_chunks_is_no_head_without_end(server: Any, upload: Upload) -> None:
    body = json.dumps(upload(more="x" * 70_000)).encode()
    chunks = b"".join(b"1;e=xxxxx\r\n%c\r\n" % byte for byte in body) + b"0\r\na: b\r\n\r\n"

    answer = server.raw(
        b"POST /batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        chunks,
    )

    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("parts", [1, 2])
def test_a_trailer_is_no_header(serve: Any, upload: Upload, parts: int) -> None:
    served = serve(trusted_proxies=[ip_network("127.0.0.0/8")])
    body = json.dumps(upload()).encode()
    sent = (
        b"POST /batch HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body),
        b"X-Forwarded-For: 198.51.100.1\r\nContent-Encoding: gzip\r\n\r\n",
    )

    answer = served.raw(*(sent if parts == 2 else [b"".join(sent)]))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [record.client_address for record in served.records] == ["192.0.2.1"]


def test_more_connections_than_allowed_get_a_503_in_json(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "CONNECTIONS_MAX", 1)
    served = serve()
    with socket.create_connection(served.address, timeout=20) as first:
        first.sendall(b"OPTIONS /batch HTTP/1.1\r\nHost: x\r\n\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")

        answer = served.raw(b"")

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 503


@pytest.mark.parametrize(("few_max", "read_bytes"), [(0, 32_768), (256, 131_072)])
def test_a_connection_holds_little_that_no_request_has_claimed(
    serve: Any, monkeypatch: pytest.MonkeyPatch, few_max: int, read_bytes: int
) -> None:
    monkeypatch.setattr(runtime, "FEW_CONNECTIONS_MAX", few_max)
    served = serve(Limits(flight_bytes_max=1, flight_wait_seconds=5))
    held = [socket.create_connection(served.address, timeout=20) for _ in range(4)]
    try:
        for connection in held:
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                connection.sendall(
                    b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"
                )
                connection.sendall(b"x" * 8_000_000)
        unclaimed = [
            len(found.cycle.body)
            for found in gc.get_objects()
            if isinstance(found, HttpToolsProtocol) and found.cycle is not None
        ]
    finally:
        for connection in held:
            connection.close()

    # One of them is the oldest, which reads on; the others hold one read at most.
    assert sum(0 < size <= 16_384 + read_bytes for size in unclaimed) >= 3
    assert max(unclaimed) <= 16_384 + read_bytes


def test_what_was_answered_200_is_in_the_log(serve: Any, upload: Upload, tmp_path: Path) -> None:
    folder = tmp_path / "log" / "1"
    folder.mkdir(parents=True)
    writer = LogWriter.open(folder, partition=1, clock=SystemClock(), files=Files(), known_end=0)
    try:
        served = serve(append=writer.append)
        stamps = [served.post(upload()).json["server_upload_time"] for _ in range(5)]
        assert served.post(b"{").status == 400
        served.stop()
    finally:
        writer.close()

    entries = LogReader(tmp_path / "log").read(1, 0, 1_000_000)

    kept = [entry for entry in entries if entry.record is not None]
    assert [entry.stamp // 1000 for entry in kept] == stamps
    assert all(entry.record is not None and entry.record.events == 1 for entry in kept)


@pytest.mark.parametrize("rest", [b"\0", b"no HTTP", b"POST /batch HTTP/1.1\r\ncontent-length: x"])
def test_what_was_stored_is_answered_before_what_follows_it_is_refused(
    server: Any, upload: Upload, rest: bytes
) -> None:
    stored = len(server.records)

    answers = server.raw(request(upload()) + rest)

    assert len(server.records) == stored + 1
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert answers.count(b"HTTP/1.1") == 1


def test_requests_without_number_on_a_connection_are_not_kept(serve: Any, upload: Upload) -> None:
    asked, durable = threading.Event(), asyncio.Event()

    async def append(record: Record) -> int:
        asked.set()
        await durable.wait()
        return 7_000_000

    served = serve(append=append)
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(request(upload()))
        assert asked.wait(10)
        connection.settimeout(0.3)
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 300_000)
        kept = [
            len(found.pipeline)
            for found in gc.get_objects()
            if isinstance(found, HttpToolsProtocol) and found.transport is not None
        ]
        served.loop.call_soon_threadsafe(durable.set)
        answers = served.read_all(connection)

    assert max(kept) <= runtime.PIPELINED_MAX
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answers
    assert answers.count(b"HTTP/1.1") == 1


def flooding(served: Any, last: bytes = b"") -> socket.socket:
    """Return a connection that asked for more bytes than the kernel takes on their way."""
    served._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(served.address)
    asked = b"OPTIONS / HTTP/1.1\r\nAccess-Control-Request-Headers: %s\r\n" % (b"x" * 1024)
    connection.sendall((asked + b"\r\n") * 15 + asked + last + b"\r\n")
    return connection


def connections() -> int:
    return sum(
        found in found.connections
        for found in gc.get_objects()
        if isinstance(found, HttpToolsProtocol)
    )


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
def test_a_client_that_reads_no_answers_is_dropped(
    serve: Any, monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    monkeypatch.setattr(runtime, "WRITE_SECONDS", 0.3)
    served = serve()
    before = connections()
    with contextlib.closing(flooding(served, last)):
        until = time.monotonic() + 20
        while connections() == before and time.monotonic() < until:
            time.sleep(0.001)
        while connections() > before and time.monotonic() < until:
            time.sleep(0.01)

        assert connections() == before
        assert time.monotonic() < until


def test_answers_that_are_read_late_but_in_time_arrive(serve: Any) -> None:
    served = serve()
    with contextlib.closing(flooding(served, b"Connection: close\r\n")) as connection:
        time.sleep(0.1)  # in which the server comes to a stop
        answers = served.read_all(connection)

    assert answers.count(b"HTTP/1.1 200 ") == 16


def test_requests_one_behind_the_other_are_answered_as_they_are_read(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each read ends in the middle of another head, and holds more than one may have.
    monkeypatch.setattr(runtime, "HEAD_BYTES_MAX", 60)
    monkeypatch.setattr(runtime._SmallReads, "_large", memoryview(bytearray(64)))
    served = serve()

    answers = served.raw(
        b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n" * 500
        + b"OPTIONS / HTTP/1.1\r\nConnection: close\r\n\r\n"
    )

    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"HTTP/1.1") == 501


def test_a_refusal_drops_what_waits_behind_a_request_that_is_stored(
    server: Any, upload: Upload
) -> None:
    stored = len(server.records)

    answers = server.raw(request(upload()) * 3 + b"no HTTP")

    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"HTTP/1.1") == 1
    assert len(server.records) == stored + 1


def test_a_connection_that_ended_leaves_nothing_to_the_collector_of_cycles(
    server: Any, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That collector runs seldom, and a body may have 20 MB.
    made: list[weakref.ref[object]] = []

    class Connection(runtime._Connection):
        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            made.extend((weakref.ref(self), weakref.ref(self.cycle)))

    monkeypatch.setattr(runtime, "_Connection", Connection)
    gc.disable()
    try:
        for body in (request(upload()), request(upload(api_key="unknown")), request(upload())[:-9]):
            server.raw(body, half_close=True)
        # The server has closed them a moment after it sent its last byte.
        until = time.monotonic() + 10
        while any(one() is not None for one in made) and time.monotonic() < until:
            time.sleep(0.01)
        left = [one() for one in made if one() is not None]
    finally:
        gc.enable()
    assert len(made) == 6
    assert left == []
