"""A request that comes in one piece needs no task of its own, and is answered like any other."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tailrace.collect.limits import Limits
from tailrace.collect.rates import Rate, Rates
from tailrace.errors import BadRequest, ClockStepped, DiskReserve, Transient
from tailrace.log.record import Record

Upload = Callable[..., dict[str, Any]]
# Named, an encoding is looked at by the general way alone, even if it is none.
GENERAL_WAY = {"Content-Encoding": "identity"}
GOOD = {"event_type": "a", "user_id": "user-1"}


def in_one_piece(body: bytes, *lines: str, path: str = "/2/httpapi", method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def answer_to(served: Any, request: bytes) -> bytes:
    """Send the request in one piece and read the one answer to its end."""
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}"):
            part = connection.recv(65536)
            if not part:
                break
            received += part
        return received


def test_a_whole_canonical_request_is_taken_without_a_task(serve: Any, upload: Upload) -> None:
    tasks: list[Any] = []

    def append(record: Record) -> asyncio.Future[int]:
        tasks.append(asyncio.current_task())
        stamp = asyncio.get_running_loop().create_future()
        stamp.set_result(7_000_000)
        return stamp

    served = serve(append=append)
    body = json.dumps(upload()).encode()

    whole = answer_to(served, in_one_piece(body))
    served.post(body, headers=GENERAL_WAY)

    content = (
        b'{"code":200,"server_upload_time":7000,"payload_size_bytes":%d,"events_ingested":1}'
        % len(body)
    )
    assert whole == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\naccess-control-allow-origin: *\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(content), content)
    )
    assert tasks[0] is None
    assert tasks[1] is not None
    assert served.bytes_in_flight == 0
    assert served.counters.events_accepted == 2
    assert served.counters.requests == {200: 2}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b'{"events":[]}',
        b'{"api_key":"KEY","events":[]}',
        b'{"api_key":"","events":[{"event_type":"a","user_id":"user-1"}]}',
        b'{"api_key":"unknown","events":[{"event_type":"a","user_id":"user-1"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":" user-1"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"no"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"no"}],'
        b'"options":{"min_id_length":2}}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1","user_id":"user-2"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1",'
        b'"event_properties":{"a":1,"a":2}}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a"}]}',
        b'{"api_key":"KEY","events":[{"event_type":"a","user_id":"user-1","price":1e999}]}',
        b'{"api_key":"KEY", "events":[\n{"event_type":"a","device_id":"device-1"}]}',
    ],
)
def test_a_whole_request_is_answered_and_stored_like_any_other(
    server: Any, api_key: str, body: bytes
) -> None:
    body = body.replace(b"KEY", api_key.encode())
    before = len(server.records)

    other = server.post(body, headers=GENERAL_WAY)
    kept = server.records[before:]
    whole = answer_to(server, in_one_piece(body))
    kept_whole = server.records[before + len(kept) :]

    head, _, content = whole.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == other.status
    assert content == other.body
    lines = [line.decode().split(": ") for line in head.split(b"\r\n")[1:]]
    assert dict(lines) == other.headers
    assert [msgspec.structs.replace(one, received_micros=0) for one in kept_whole] == [
        msgspec.structs.replace(one, received_micros=0) for one in kept
    ]


@pytest.mark.parametrize("request_line", ["GET /2/httpapi", "POST /nothing", "HEAD /batch"])
def test_a_whole_request_of_another_kind_is_refused_alike(server: Any, request_line: str) -> None:
    method, path = request_line.split()
    before = len(server.records)

    other = server.request(method, path, b"{}", GENERAL_WAY)
    whole = server.raw(in_one_piece(b"{}", "Connection: close", method=method, path=path))

    assert int(whole.split()[1]) == other.status >= 400
    assert whole.partition(b"\r\n\r\n")[2] == other.body
    assert len(server.records) == before


def test_a_whole_request_that_expects_100_gets_it(server: Any, upload: Upload) -> None:
    request = in_one_piece(
        json.dumps(upload()).encode(), "Expect: 100-continue", "Connection: close"
    )

    assert server.raw(request).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_a_whole_requests_encoding_and_close_are_heeded(server: Any, upload: Upload) -> None:
    body = gzip.compress(json.dumps(upload()).encode())

    answer = server.raw(in_one_piece(body, "Content-Encoding: gzip", "Connection: close"))
    plain = server.raw(in_one_piece(json.dumps(upload()).encode(), "Connection: close"))

    sound = json.dumps(upload()).encode()
    unknown = server.raw(in_one_piece(sound, "Content-Encoding: br", "Connection: close"))

    assert answer.split()[1] == plain.split()[1] == b"200"
    assert unknown.split()[1] == b"415"
    assert b"connection: close" in answer
    assert b"connection: close" in plain


def test_a_whole_request_is_limited_by_its_endpoint(serve: Any, upload: Upload) -> None:
    body = json.dumps(upload(GOOD)).encode()
    served = serve(Limits(httpapi_bytes_max=len(body) - 1))

    small = answer_to(served, in_one_piece(body))
    large = answer_to(served, in_one_piece(body, path="/batch"))

    assert (small.split()[1], large.split()[1]) == (b"413", b"200")


def test_a_whole_request_is_counted_for_the_rates(serve: Any, upload: Upload) -> None:
    served = serve(rates=Rates({"/2/httpapi": Rate(1)}))
    body = json.dumps(upload(*[GOOD] * 31)).encode()

    assert answer_to(served, in_one_piece(body)).split()[1] == b"429"


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ClockStepped("x"), 503, b"clock"),
        (DiskReserve("/secret/path"), 503, b"disk"),
        (Transient("x"), 503, b"Nothing was stored"),
        (BadRequest("x"), 413, b"nothing was stored"),
        (OSError("fsync failed"), 500, b"may have been stored"),
    ],
)
def test_a_log_that_fails_is_never_a_200_for_a_whole_request(
    serve: Any, upload: Upload, error: Exception, status: int, said: bytes, at_once: bool
) -> None:
    def append(record: Record) -> asyncio.Future[int]:
        if at_once:
            raise error
        stamp = asyncio.get_running_loop().create_future()
        stamp.set_exception(error)
        return stamp

    served = serve(append=append)

    answer = answer_to(served, in_one_piece(json.dumps(upload()).encode()))

    assert int(answer.split()[1]) == status
    assert said in answer
    assert b"/secret" not in answer
    assert served.log_failures == ([error] if status == 500 else [])
    assert served.bytes_in_flight == 0


def test_a_whole_request_whose_client_left_stays_stored_and_frees_its_bytes(
    serve: Any, upload: Upload
) -> None:
    asked, answered = threading.Event(), threading.Event()
    waiting: list[asyncio.Future[int]] = []

    def append(record: Record) -> asyncio.Future[int]:
        waiting.append(asyncio.get_running_loop().create_future())
        asked.set()
        return waiting[-1]

    def become_durable() -> None:
        waiting[0].add_done_callback(lambda _: answered.set())
        waiting[0].set_result(7_000_000)

    served = serve(append=append)
    connection = socket.create_connection(served.address, timeout=20)
    connection.sendall(in_one_piece(json.dumps(upload()).encode()))
    assert asked.wait(10)
    held = served.bytes_in_flight
    # A reset, so that the server knows at once.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    served.loop.call_soon_threadsafe(lambda: served.loop.call_later(0.1, become_durable))

    assert answered.wait(10)
    assert held > 0
    assert served.bytes_in_flight == 0
    assert served.counters.events_accepted == 1
    assert served.post(b"{").status == 400


def test_whole_requests_wait_while_their_client_reads_no_answers(
    serve: Any, upload: Upload
) -> None:
    served = serve()
    request = in_one_piece(json.dumps(upload()).encode())

    def in_line(connection: HttpToolsProtocol) -> int:
        return len(connection.pipeline)

    def call(step: Callable[[Any], Any]) -> Any:
        async def of_connection() -> Any:
            return [
                step(found)
                for found in gc.get_objects()
                if isinstance(found, HttpToolsProtocol) and found.client == here
            ]

        return asyncio.run_coroutine_threadsafe(of_connection(), served.loop).result(10)[0]

    with socket.create_connection(served.address, timeout=20) as connection:
        here = connection.getsockname()
        connection.sendall(request)
        connection.recv(65_536)
        # What the transport says when the kernel takes no more of the answers.
        call(HttpToolsProtocol.pause_writing)
        for number in (1, 2):
            connection.sendall(request)
            until = time.monotonic() + 10
            while served.counters.requests.total() + call(in_line) <= number:
                assert time.monotonic() < until
        begun = served.counters.requests.total() - 1
        call(HttpToolsProtocol.resume_writing)
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 2:
            answers += connection.recv(65_536)

    assert begun == 1
    assert len(served.records) == 3
