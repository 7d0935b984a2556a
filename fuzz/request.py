"""Target `request`: one upload through the whole ASGI application, and on through processing.

The first byte says how the rest is sent (`Way`); any bytes at all are an input.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import msgspec

from fuzz.claims import NotJson, claim, strict_json
from fuzz.journey import STAMP, check_accepted
from fuzz.ways import check_both_ways, plain
from tailrace.clock import SteppedClock
from tailrace.collect.keys import Keys
from tailrace.collect.limits import Limits
from tailrace.collect.server import Collector
from tailrace.log.record import Record, decode_record, encode_record

KEY = "k"
# Everything a large body meets, within reach of small inputs.
SMALL = Limits(
    httpapi_bytes_max=4096,
    batch_bytes_max=65_536,
    events_max=4,
    inline_bytes_max=256,
    values_max=16,
    event_values_max=64,
    event_containers_max=32,
)
ANSWERS = frozenset({200, 400, 405, 413, 415})
_CHUNKS = (1_000_000, 1000, 100, 7)
# What a test body may inflate to before it is cut by the harness itself, not the service.
_INFLATED_MAX = 30_000_000


class Owner(msgspec.Struct, frozen=True):
    """Whom the one key belongs to."""

    organization: int
    project: int


class _Accounts:
    def version(self) -> int:
        return 1

    def load(self) -> Mapping[str, Owner]:
        return {KEY: Owner(100_001, 300_001)}

    def portfolios(self) -> Collection[str]:
        return ()


class Way(msgspec.Struct, frozen=True):
    """How an input is sent: decoded from its first byte."""

    path: str
    limits: Limits
    encoding: str
    chunk_bytes: int
    tells_length: bool

    @classmethod
    def of(cls, byte: int) -> Way:
        """Read the bits: 1 path, 1 limits, 2 encoding, 2 chunks, 1 whether the length is told."""
        return cls(
            path="/batch" if byte & 1 else "/2/httpapi",
            limits=SMALL if byte & 2 else Limits(),
            encoding=("plain", "packed", "gzip", "members")[byte >> 2 & 3],
            chunk_bytes=_CHUNKS[byte >> 4 & 3],
            tells_length=bool(byte & 64),
        )

    def wire(self, rest: bytes) -> bytes:
        """Return what goes over the wire: `packed` and `members` are compressed here."""
        if self.encoding == "packed":
            return gzip.compress(rest, 1, mtime=0)
        if self.encoding == "members":
            half = len(rest) // 2
            return gzip.compress(rest[:half], 1, mtime=0) + gzip.compress(rest[half:], 1, mtime=0)
        return rest


class Place:
    """A collector whose log keeps its records in memory, and the loop that it lives in."""

    def __init__(self, limits: Limits) -> None:
        self.loop = asyncio.new_event_loop()
        self.records: list[Record] = []
        self.collector = self.loop.run_until_complete(self._start(limits))

    async def _start(self, limits: Limits) -> Collector:
        async def pause(_: float) -> None:
            return

        self.keys = Keys(_Accounts(), steady_seconds=lambda: 0.0, pause=pause)
        await self.keys.refresh()
        return Collector(self._append, self.keys, SteppedClock(STAMP), limits=limits)

    async def _append(self, record: Record) -> int:
        self.records.append(record)
        return STAMP

    def post(
        self, path: str, headers: list[tuple[bytes, bytes]], parts: list[bytes]
    ) -> tuple[int, bytes]:
        """Send one request and return status and body of its answer."""
        left = list(reversed(parts)) or [b""]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            body = left.pop()
            return {"type": "http.request", "body": body, "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": headers,
            "client": ("203.0.113.7", 4711),
        }
        self.loop.run_until_complete(self.collector(scope, receive, send))
        kinds = [message["type"] for message in sent]
        claim(kinds == ["http.response.start", "http.response.body"], f"it sent {kinds}")
        return sent[0]["status"], sent[1]["body"]


def close() -> None:
    """End the loops and threads of all collectors."""
    for limits in (SMALL, Limits()):
        there = place(limits)
        there.collector.close()
        there.keys.close()
        there.loop.close()
    place.cache_clear()


@cache
def place(limits: Limits) -> Place:
    """Return the one collector with these limits."""
    return Place(limits)


def target(data: bytes) -> None:
    """Send an input, check the answer, and process what was accepted."""
    if not data:
        return
    way = Way.of(data[0])
    wire = way.wire(data[1:])
    headers = [(b"content-length", b"%d" % len(wire))] if way.tells_length else []
    if way.encoding != "plain":
        headers.append((b"content-encoding", b"gzip"))
    parts = [wire[at : at + way.chunk_bytes] for at in range(0, len(wire), way.chunk_bytes)]
    there = place(way.limits)
    there.records.clear()
    status, answer = there.post(way.path, headers, parts)
    check_answer(status, answer)
    budget = there.collector.budget
    claim(budget.bytes_used == 0 and budget.waiting == 0, "bytes in flight are not given back")
    content = wire if way.encoding == "plain" else inflated(wire)
    if content is None:
        claim(status in (400, 413), f"a broken gzip stream was answered {status}")
    claim(len(there.records) == (status == 200), f"{status}, {len(there.records)} records")
    if content is not None and len(content) <= there.collector._limits.batch_bytes_max:
        check_both_ways(content, way.limits)
    if status == 200 and content is not None:
        _check_stored(there.records[0], content, strict_json(answer))


def check_answer(status: int, answer: bytes) -> None:
    """Claim that an answer is one of the documented ones."""
    claim(status in ANSWERS, f"answered {status}: {answer[:200]!r}")
    try:
        said = strict_json(answer)
    except NotJson as error:
        claim(False, f"an answer is no JSON: {error}")
    claim(said.get("code") == status, "code is not the status")
    claim(status == 200 or said.get("error"), "an answer does not say what is wrong")


def inflated(wire: bytes) -> bytes | None:
    """Return what whole gzip members hold, with another inflater; None if they are broken."""
    parts: list[bytes] = []
    size = 0
    rest = wire
    while rest:
        member = zlib.decompressobj(31)
        try:
            part = member.decompress(rest, _INFLATED_MAX)
        except zlib.error:
            return None
        size += len(part)
        if not member.eof or size > _INFLATED_MAX:
            return None
        parts.append(part)
        rest = member.unused_data
    return b"".join(parts)


def _check_stored(record: Record, content: bytes, said: dict[str, Any]) -> None:
    sent = strict_json(content.removeprefix(b"\xef\xbb\xbf"))["events"]
    claim(said["events_ingested"] == record.events == len(sent), "events are counted wrongly")
    claim(said["payload_size_bytes"] == len(content), "bytes are counted wrongly")
    head, body = encode_record(record)
    claim(decode_record(memoryview(head + body)) == record, "a record is read as another")
    plain(record.body)
    check_accepted(record, sent)
