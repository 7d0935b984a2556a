"""Framing, compression, limits and slow clients, with raw sockets against a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tailrace.collect.bodies import Body
from tailrace.collect.budget import Budget
from tailrace.collect.limits import MEBIBYTE, Limits
from tailrace.collect.patience import Patience
from tailrace.log.record import Record

GZIP = {"Content-Encoding": "gzip"}
Upload = Callable[..., dict[str, Any]]


@pytest.fixture
def body(upload: Upload) -> bytes:
    return json.dumps(upload()).encode()


def head(*lines: str, path: str = "/2/httpapi") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def padded(upload: Upload, size: int) -> bytes:
    """Return a valid body of exactly `size` bytes."""
    event = {"event_type": "a", "user_id": "user-1", "event_properties": {"a": [1]}}
    empty = json.dumps(upload(event))
    return empty.encode() + b" " * (size - len(empty))


def test_a_gzip_body_is_stored_decompressed(server: Any, body: bytes) -> None:
    reply = server.post(gzip.compress(body), headers=GZIP)

    assert reply.json["payload_size_bytes"] == len(body)
    assert server.records[-1].body == body


@pytest.mark.parametrize("cut", [0, 1, 20, 50])
def test_several_gzip_members_are_one_body(server: Any, body: bytes, cut: int) -> None:
    members = gzip.compress(body[:cut]) + gzip.compress(body[cut:])

    assert server.post(members, headers=GZIP).status == 200
    assert server.records[-1].body == body


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_chunked_body_of_any_chunks_is_one_body(server: Any, body: bytes, size: int) -> None:
    plain = server.raw(head("Transfer-Encoding: chunked", "Connection: close"), chunked(body, size))
    assert plain.startswith(b"HTTP/1.1 200 ")
    assert server.records[-1].body == body

    packed = server.raw(
        head("Transfer-Encoding: chunked", "Connection: close", "Content-Encoding: gzip"),
        chunked(gzip.compress(body), size),
    )
    assert packed.startswith(b"HTTP/1.1 200 ")
    assert server.records[-1].body == body


def with_all_fields(packed: bytes) -> bytes:
    """Return a gzip file with every field that its head may have: RFC 1952, section 2.3."""
    text = packed[:3] + b"\x1e" + packed[4:10] + b"\3\0abc" + b"name\0" + b"comment\0"
    return text + (zlib.crc32(text) & 0xFFFF).to_bytes(2, "little") + packed[10:]


@pytest.mark.parametrize("size", [1, 3, 10, 25, 4096])
@pytest.mark.parametrize("cut", [0, 40, 90])
def test_a_gzip_head_with_all_fields_may_come_in_pieces(body: bytes, size: int, cut: int) -> None:
    packed = b"".join(with_all_fields(gzip.compress(part)) for part in (body[:cut], body[cut:]))
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    budget = Budget(MEBIBYTE, 1.0)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def read() -> bytes:
        encoding = {b"content-encoding": b"gzip"}
        with budget.share() as share:
            return await Body(receive, encoding, Limits(), Patience(1.0)).read(share, MEBIBYTE)

    assert gzip.decompress(packed) == body
    assert asyncio.run(read()) == body
    assert budget.bytes_used == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda packed: packed[:-1], "ends too early"),
        (lambda packed: packed[:10], "ends too early"),
        (lambda packed: packed + b"garbage", "ends too early"),
        (lambda packed: packed + b"garbage" * 9, "broken"),
        (lambda packed: packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:], "broken"),
        (lambda packed: b"not gzip at all", "broken"),
        (lambda packed: zlib.compress(packed), "broken"),
    ],
)
def test_a_broken_gzip_stream_is_a_400(
    server: Any, body: bytes, damage: Callable[[bytes], bytes], said: str
) -> None:
    stored = len(server.records)

    reply = server.post(damage(gzip.compress(body)), headers=GZIP)

    assert (reply.status, reply.json["error"]) == (400, "Invalid JSON request body")
    assert said in reply.json["detail"]
    assert len(server.records) == stored


def test_a_gzip_stream_of_very_many_members_is_refused(server: Any, upload: Upload) -> None:
    members = gzip.compress(b"") * 101 + gzip.compress(json.dumps(upload()).encode())
    reply = server.post(members, headers=GZIP)

    assert reply.status == 400
    assert "too many parts" in reply.json["detail"]


def test_an_empty_gzip_body_is_missing(server: Any) -> None:
    for empty in (b"", gzip.compress(b"")):
        reply = server.post(empty, headers=GZIP)
        assert reply.json == {"code": 400, "error": "Missing request body"}


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_unknown_encoding_is_a_415(server: Any, body: bytes, encoding: str) -> None:
    reply = server.post(body, headers={"Content-Encoding": encoding})

    assert (reply.status, reply.json["code"]) == (415, 415)
    assert encoding in reply.json["detail"]


def test_identity_and_upper_case_encodings_are_known(server: Any, body: bytes) -> None:
    assert server.post(body, headers={"Content-Encoding": "identity"}).status == 200
    assert server.post(gzip.compress(body), headers={"Content-Encoding": "GZIP"}).status == 200


@pytest.mark.parametrize(("path", "most"), [("/2/httpapi", 1_048_576), ("/batch", 20_971_520)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_largest_body_passes_and_one_byte_more_is_a_413(
    server: Any, upload: Upload, path: str, most: int, packed: bool
) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if packed else bytes
    headers = GZIP if packed else {}

    assert server.post(pack(padded(upload, most)), path, headers).status == 200
    reply = server.post(pack(padded(upload, most + 1)), path, headers)

    assert (reply.status, reply.json) == (413, {"code": 413, "error": "Payload too large"})


def test_a_chunked_body_over_the_limit_is_a_413(server: Any, upload: Upload) -> None:
    answer = server.raw(
        head("Transfer-Encoding: chunked", "Connection: close"),
        chunked(padded(upload, 1_048_577), 60_000),
    )

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_gzip_bomb_is_a_413_and_takes_no_memory(serve: Any) -> None:
    served = serve()
    bomb = gzip.compress(b" " * 30_000_000, 9)
    assert len(bomb) < 1_048_576

    reply = served.post(bomb, headers=GZIP)

    assert reply.status == 413
    assert served.bytes_in_flight == 0


def test_a_client_that_expects_100_is_refused_before_it_sends(server: Any) -> None:
    answer = server.raw(head("Content-Length: 99999999", "Expect: 100-continue"))

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_expects_100_is_asked_for_its_body(server: Any, body: bytes) -> None:
    answer = server.raw(
        head(f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close"), body
    )

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(server: Any, body: bytes) -> None:
    request = head(f"Content-Length: {len(body)}") + body
    wrong = head("Content-Length: 2") + b"[]"
    last = head(f"Content-Length: {len(body)}", "Connection: close") + body

    answer = server.raw(request + wrong + last)

    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400", b"200"]


def test_a_connection_is_kept_for_further_requests(server: Any, body: bytes) -> None:
    with socket.create_connection(server.address, timeout=20) as connection:
        for _ in range(3):
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("half_close", [False, True])
def test_a_client_that_leaves_in_mid_body_stores_nothing(
    serve: Any, body: bytes, half_close: bool
) -> None:
    served = serve(Limits(body_idle_seconds=0.2))
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(head(f"Content-Length: {len(body) + 1}") + body)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
            served.read_all(connection)

    assert served.post(b"{").status == 400
    served.stop()
    assert served.records == []
    assert served.bytes_in_flight == 0


def test_bytes_after_the_declared_length_are_no_part_of_the_body(server: Any, body: bytes) -> None:
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(head(f"Content-Length: {len(body)}") + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"garbage\r\n\r\n")
        assert server.read_all(connection).startswith(b"HTTP/1.1 400 ")

    assert server.records[-1].body == body


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: x",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
    ],
)
def test_contradicting_lengths_are_a_400_in_json(server: Any, lines: tuple[str, ...]) -> None:
    answer = server.raw(head(*lines) + b"hello")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"access-control-allow-origin: *" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 400


def test_a_client_that_stops_sending_gets_408_and_frees_its_bytes(serve: Any, body: bytes) -> None:
    served = serve(Limits(body_idle_seconds=0.1, discard_seconds=0.1))

    answer = served.raw(head(f"Content-Length: {len(body)}"), body[:-1])

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 408
    assert served.records == []
    assert served.bytes_in_flight == 0


def test_a_client_that_drips_is_ended_by_the_total_time(serve: Any, body: bytes) -> None:
    served = serve(Limits(body_idle_seconds=20, body_total_seconds=0.3, discard_seconds=0.1))
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(head("Content-Length: 1000000"))
        connection.settimeout(0.05)
        answer = b""
        for _ in range(200):
            connection.sendall(b" ")
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                continue

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_no_room_is_a_503_after_a_while(
    serve: Any, upload: Upload, api_key: str, stamp: int
) -> None:
    durable = asyncio.Event()

    async def append(record: Record) -> int:
        await durable.wait()
        return stamp

    served = serve(Limits(flight_bytes_max=1000, flight_wait_seconds=0.1), append=append)
    served.accounts.keys["other"] = served.accounts.keys[api_key]
    served.accounts.number += 1
    with ThreadPoolExecutor(2) as threads:
        full = padded(upload, 500)
        waiting = [threads.submit(served.post, full)]
        other = full.replace(api_key.encode(), b"other").ljust(500)
        waiting.append(threads.submit(served.post, other))
        while served.bytes_in_flight < 1000:
            served.post(b"", "/unknown")

        reply = served.post(upload())
        served.loop.call_soon_threadsafe(durable.set)

        assert [held.result().status for held in waiting] == [200, 200]
    assert (reply.status, reply.json["code"]) == (503, 503)
    assert reply.headers["access-control-allow-origin"] == "*"
    assert served.bytes_in_flight == 0


def test_one_key_gets_half_of_the_room_at_most(serve: Any, upload: Upload) -> None:
    served = serve(Limits(flight_bytes_max=10_000))

    assert served.post(padded(upload, 5_000)).status == 200
    assert served.post(padded(upload, 5_001)).status == 503
    assert served.bytes_in_flight == 0


def test_a_large_body_is_decoded_off_the_loop(serve: Any, upload: Upload) -> None:
    served = serve(Limits(inline_bytes_max=100))

    assert served.post(padded(upload, 2_000)).status == 200
    assert served.post(padded(upload, 2_000)[:-900] + b"x" * 900).status == 400
