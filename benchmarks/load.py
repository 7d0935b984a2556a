"""A closed-loop client: some connections kept alive, each with one request under way.

It parses no more of an answer than its status and length, so it leaves the cores to the server.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator, Sequence

import msgspec

_READ_BYTES = 65_536
_QUIET_SECONDS = 30.0  # without any progress for so long the server is taken for dead


class Load(msgspec.Struct, frozen=True):
    """What one run sent: requests answered 200, and the seconds it took."""

    requests: int
    seconds: float


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._received = b""

    def start(self, request: bytes) -> None:
        self._unsent = memoryview(request)
        self._received = b""

    def send(self) -> bool:
        """Send on; return True once the whole request is out."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        return True

    def receive(self) -> bool:
        """Read on; return True once the answer is whole. Raise unless it is a 200."""
        part = self.socket.recv(_READ_BYTES)
        self._received += part
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not part or (found and not head.startswith(b"HTTP/1.1 200 ")):
            raise RuntimeError(f"The server answered {self._received[:300]!r} instead of 200.")
        return bool(found) and len(body) >= _content_length(head)


def http_request(body: bytes) -> bytes:
    """Return one upload request as it goes over the wire."""
    return (
        b"POST /2/httpapi HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    ) + body


def run(port: int, requests: Sequence[bytes], count: int, connections: int) -> Load:
    """Send `count` requests, repeating the given ones in turn; return when all are answered."""
    left = (requests[number % len(requests)] for number in range(count))
    began = time.perf_counter()
    with contextlib.ExitStack() as opened:
        selector = opened.enter_context(selectors.DefaultSelector())
        live = 0
        for request in _first(left, connections):
            connection = _Connection(port)
            opened.callback(connection.socket.close)
            connection.start(request)
            selector.register(connection.socket, selectors.EVENT_WRITE, connection)
            live += 1
        while live:
            ready = selector.select(_QUIET_SECONDS)
            if not ready:
                raise RuntimeError(f"No answer for {_QUIET_SECONDS:.0f} s under load.")
            for key, events in ready:
                live -= _advance(selector, key.data, events, left)
    return Load(count, time.perf_counter() - began)


def _first(requests: Iterator[bytes], count: int) -> Iterator[bytes]:
    for _ in range(count):
        request = next(requests, None)
        if request is None:
            return
        yield request


def _advance(
    selector: selectors.BaseSelector, connection: _Connection, events: int, left: Iterator[bytes]
) -> int:
    """Move one connection on; return 1 when it has nothing more to send."""
    if events & selectors.EVENT_WRITE:
        if connection.send():
            selector.modify(connection.socket, selectors.EVENT_READ, connection)
        return 0
    if not connection.receive():
        return 0
    request = next(left, None)
    if request is None:
        selector.unregister(connection.socket)
        return 1
    connection.start(request)
    if not connection.send():
        selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
    return 0


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"The server answered without a length: {head!r}.")
