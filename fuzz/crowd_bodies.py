"""The requests of the crowd: what each kind of client sends, how, and what it may be answered.

Hundreds of them share a few large blocks; only a request's first event is its own.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import msgspec

BIG_BYTES = 20_000_000
# A slow client sends this much at once, then a byte now and then.
SLOW_BYTES = 8_000_000
SLOW_STEPS = 12
SLOW_PAUSE_SECONDS = 2.0
# What a bomb inflates to, of a thousandth of that on the wire.
BOMB_BYTES = 200_000_000
_PART_BYTES = 262_144
_EVENTS = 2000
# 503: no room in time, or the key has its half; 408: the body took too long. Who is still sending
# when the server has discarded enough sees the connection closed.
_BUSY = frozenset({"503", "408", "closed"})

Block = Callable[[int], bytes]


class Kind(msgspec.Struct, frozen=True):
    """A kind of client. `rest` makes what follows a request's own first event."""

    name: str
    rest: Block
    answers: frozenset[str]
    is_gzip: bool = False
    # Bytes that are sent at once; what remains comes slowly or, for `stops`, never.
    at_once: int | None = None
    stops: bool = False
    leaves: bool = False


class Request:
    """One big request; `status` is what it was answered."""

    def __init__(self, number: int, kind: Kind, api_key: str, size_bytes: int) -> None:
        self.name = f"crowd-{number}"
        self.kind = kind
        self.status: str | None = None
        self._first = first_event(self.name, api_key)
        self._size = size_bytes - len(self._first)

    def prepare(self) -> None:
        """Make the block that is sent, so that making it holds up no other client."""
        _rest(self.kind, self._size)

    def parts(self) -> Iterator[tuple[bytes | memoryview, float]]:
        """Yield what to send, and for how many seconds to pause after it."""
        first, rest = self._first, _rest(self.kind, self._size)
        if self.kind.is_gzip:
            first = gzip.compress(first)
        encoding = b"content-encoding: gzip\r\n" if self.kind.is_gzip else b""
        yield (
            b"POST /batch HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n"
            % (encoding, len(first) + len(rest)),
            0.0,
        )
        yield first, 0.0
        view = memoryview(rest)
        until = len(view) if self.kind.at_once is None else min(self.kind.at_once, len(view))
        for start in range(0, until, _PART_BYTES):
            yield view[start : min(start + _PART_BYTES, until)], 0.0
        if self.kind.stops or until == len(view):
            return
        for step in range(SLOW_STEPS):
            yield view[until + step : until + step + 1], SLOW_PAUSE_SECONDS
        yield view[until + SLOW_STEPS :], 0.0


class SmallRequest:
    """One ordinary request."""

    def __init__(self, number: int, api_key: str) -> None:
        self.name = f"small-{number}"
        self.status: str | None = None
        self._api_key = api_key

    @property
    def wire(self) -> bytes:
        """The bytes to send."""
        body = first_event(self.name, self._api_key) + b"]}"
        head = b"POST /2/httpapi HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        return head + body


def first_event(name: str, api_key: str) -> bytes:
    """Return a body's beginning, up to and with an event that names the request."""
    return (
        b'{"api_key":"%s","events":[{"event_type":"Opened","user_id":"user-1","insert_id":"%s"}'
        % (api_key.encode(), name.encode())
    )


@cache
def _rest(kind: Kind, size_bytes: int) -> bytes:
    # Names differ by a few digits, and so do the sizes; that many blocks are not needed.
    rest = kind.rest(size_bytes // 1000 * 1000)
    return gzip.compress(rest, 1) if kind.is_gzip and not rest.startswith(b"\x1f\x8b") else rest


@cache
def ordinary(size_bytes: int) -> bytes:
    """Return 1,999 events of about ten kilobytes, as a batch of real ones would be."""
    return _events(size_bytes, lambda room: b'{"text":"%s"}' % _words(room - 11))


@cache
def packed(size_bytes: int) -> bytes:
    """Return events full of the smallest values: as many Python objects as bytes allow."""
    return _events(size_bytes, lambda room: b'{"a":[%s1]}' % (b"1," * ((room - 8) // 2)))


@cache
def dense(size_bytes: int) -> bytes:
    """Return events of 120 pairs, just few enough to be decoded all at once, and an unknown key."""

    def pairs(room: int) -> bytes:
        text = b"x" * (room // 120 - 9)
        return b"{" + b",".join(b'"%03d":"%s"' % (n, text) for n in range(120)) + b'},"other":1'

    return _events(size_bytes, pairs)


@cache
def nested(size_bytes: int) -> bytes:
    """Return events full of empty objects."""
    return _events(size_bytes, lambda room: b'{"a":[%s{}]}' % (b"{}," * ((room - 9) // 3)))


@cache
def escaped(size_bytes: int) -> bytes:
    """Return events whose text is written in escapes, which only the strict way reads."""
    return _events(size_bytes, lambda room: b'{"text":"%s\\u003a"}' % _words(room - 17))


@cache
def emoji(size_bytes: int) -> bytes:
    """Return events of which each has one character that makes text take four bytes for each."""
    face = "😀".encode()
    return _events(size_bytes, lambda room: b'{"text":"%s\\u003a%s"}' % (_words(room - 21), face))


@cache
def bomb(size_bytes: int) -> bytes:
    """Return a gzip member that inflates to far more than is allowed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 1_000_000
    parts = [packer.compress(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*parts, packer.flush()])


def _events(size_bytes: int, properties: Callable[[int], bytes]) -> bytes:
    room = size_bytes // (_EVENTS - 1)
    head = b',{"event_type":"Opened","user_id":"user-1","event_properties":'
    event = head + properties(room - len(head) - 1) + b"}"
    return event * (_EVENTS - 1) + b"]}"


def _words(size: int) -> bytes:
    # Strings are cut at 1,024 characters, so longer text is split.
    word = b"the quick brown fox jumps over the lazy dog "
    text = (word * (size // len(word) + 1))[:size]
    parts = [text[start : start + 1000] for start in range(0, size, 1000)]
    return b'","t'.join(
        part if index == 0 else b'%d":"%s' % (index, part[: max(0, len(part) - 10)])
        for index, part in enumerate(parts)
    )


_GOOD = frozenset({"200"}) | _BUSY
_LATE = frozenset({"408"}) | _BUSY

KINDS = (
    Kind("ordinary", ordinary, _GOOD),
    Kind("ordinary gzip", ordinary, _GOOD, is_gzip=True),
    Kind("dense", dense, _GOOD),
    Kind("dense gzip", dense, _GOOD, is_gzip=True),
    Kind("packed", packed, _GOOD),
    Kind("packed gzip", packed, _GOOD, is_gzip=True),
    Kind("nested", nested, _GOOD),
    Kind("escaped gzip", escaped, _GOOD, is_gzip=True),
    Kind("emoji", emoji, _GOOD),
    Kind("emoji gzip", emoji, _GOOD, is_gzip=True),
    Kind("bomb", bomb, frozenset({"413"}) | _BUSY, is_gzip=True),
    Kind("slow", ordinary, _GOOD, at_once=SLOW_BYTES),
    Kind("stops", ordinary, _LATE, at_once=SLOW_BYTES, stops=True),
    Kind(
        "leaves",
        ordinary,
        frozenset({"closed", "503"}),
        at_once=SLOW_BYTES,
        stops=True,
        leaves=True,
    ),
)
