"""`Wire`: a network between an SDK and a collector, which watches what passes and can fail."""

from __future__ import annotations

import enum
import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import h11
import msgspec

WAIT_SECONDS = 60.0
_READ_BYTES = 65_536
# A head larger than this is no SDK's.
_HEAD_BYTES_MAX = 65_536


class Exchange(msgspec.Struct, frozen=True):
    """One request that came by, and what the collector said; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer_headers: dict[str, str]
    answer_body: bytes

    @property
    def events(self) -> list[Any]:
        """The events of an upload; none of a pre-flight."""
        if self.method != "POST":
            return []
        compressed = self.headers.get("content-encoding") == "gzip"
        uploaded = json.loads(gzip.decompress(self.body) if compressed else self.body)
        events: list[Any] = uploaded["events"]
        return events

    @property
    def answer(self) -> dict[str, Any]:
        """The collector's answer."""
        decoded: dict[str, Any] = json.loads(self.answer_body)
        return decoded


class Fault(enum.Enum):
    """What can happen to a request on its way."""

    CUT_BEFORE = "the connection breaks before the collector has the request"
    CUT_AFTER = "the connection breaks before the client has the answer"
    SILENCE = "the answer never comes"
    BAD_GATEWAY = "a proxy says 502 instead of the answer"


_BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 24\r\n"
    b"Access-Control-Allow-Origin: *\r\n\r\n<html>Bad gateway</html>"
)


class Wire:
    """Pass every byte of a request and of its answer on as it came, or play a fault.

    `address` is asked for at each request, so that a collector may start again at another one.
    Faults and hooks are for uploads, in their order; pre-flights always pass.
    """

    def __init__(self, address: Callable[[], tuple[str, int]], path: str) -> None:
        self._address = address
        self._exchanges: list[Exchange] = []
        self._faults: list[Fault | None] = []
        self._hooks: list[Callable[[], None] | None] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._cut = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = self.origin + path
        self._start(self._accept)

    @property
    def exchanges(self) -> list[Exchange]:
        """All uploads that reached the collector, in the order of their answers."""
        return [one for one in list(self._exchanges) if one.method == "POST"]

    @property
    def preflights(self) -> list[Exchange]:
        """All pre-flights."""
        return [one for one in list(self._exchanges) if one.method == "OPTIONS"]

    @property
    def statuses(self) -> list[int]:
        return [exchange.status for exchange in self.exchanges]

    @property
    def acknowledged(self) -> int:
        """How many events the collector's 200s said are durable."""
        answers = [exchange.answer for exchange in self.exchanges if exchange.status == 200]
        return sum(answer["events_ingested"] for answer in answers)

    def lose_next_answer(self, seen: int | None) -> None:
        """Give a proxy's 502 in its stead, or None for silence."""
        self.fail_next(Fault.SILENCE if seen is None else Fault.BAD_GATEWAY)

    def fail_next(self, *faults: Fault | None) -> None:
        """Play these faults at the next uploads, one each; None lets one pass."""
        self._cut.clear()
        self._faults.extend(faults)

    def wait_for_cut(self) -> None:
        """Return once the last of the planned cuts was made."""
        assert self._cut.wait(WAIT_SECONDS), "no upload came to be cut off"

    def after_next_answers(self, *hooks: Callable[[], None] | None) -> None:
        """Call these before the next answers are handed to the client, one each."""
        self._hooks.extend(hooks)

    def close(self) -> None:
        """Break all connections, and raise what went wrong in between."""
        self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for one in self._open:
                _end(one)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
        self._listening.close()
        if self._failures:
            raise self._failures[0]

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                rest = b""
                while True:
                    read = _read(client, h11.Connection(h11.SERVER, _HEAD_BYTES_MAX), rest)
                    if read is None or not self._pass_on(client, read):
                        return
                    rest = read.rest
        except (OSError, h11.RemoteProtocolError):
            # A client or a collector that goes away is what some tests are about.
            return
        except BaseException as error:
            self._failures.append(error)

    def _pass_on(self, client: socket.socket, request: _Read) -> bool:
        """Return whether the connection lives on."""
        head = request.head
        assert isinstance(head, h11.Request)
        uploads = head.method == b"POST"
        fault = self._faults.pop(0) if uploads and self._faults else None
        if fault is Fault.CUT_BEFORE:
            _reset(client)
            self._note_cut()
            return False
        answer = self._ask(request.raw, head)
        self._exchanges.append(_exchange(request, answer))
        hook = self._hooks.pop(0) if uploads and self._hooks else None
        if hook is not None:
            hook()
        match fault:
            case Fault.CUT_AFTER:
                _reset(client)
                self._note_cut()
                return False
            case Fault.SILENCE:
                # Nothing is answered until the client has given up.
                client.recv(1)
                return False
            case Fault.BAD_GATEWAY:
                client.sendall(_BAD_GATEWAY)
                return True
            case _:
                client.sendall(answer.raw)
                return True

    def _note_cut(self) -> None:
        if not self._faults:
            self._cut.set()

    def _ask(self, raw: bytes, head: h11.Request) -> _Read:
        with socket.create_connection(self._address(), WAIT_SECONDS) as collector:
            parser = h11.Connection(h11.CLIENT, _HEAD_BYTES_MAX)
            parser.send(head)
            collector.sendall(raw)
            answer = _read(collector, parser, b"")
        assert answer is not None, "the collector closed the connection without an answer"
        return answer


class _Read(msgspec.Struct, frozen=True):
    """One message: its head, its body, all its bytes, and what came after it."""

    head: Any
    body: bytes
    raw: bytes
    rest: bytes


def _read(source: socket.socket, parser: h11.Connection, rest: bytes) -> _Read | None:
    """Read one message; None if the other side closes before its first byte."""
    raw, head, body = rest, None, b""
    if rest:
        parser.receive_data(rest)
    while True:
        event = parser.next_event()
        match event:
            case h11.NEED_DATA:
                data = source.recv(_READ_BYTES)
                if not data and not raw:
                    return None
                raw += data
                parser.receive_data(data)
            case h11.Request() | h11.Response():
                head = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                trailing, _ = parser.trailing_data
                return _Read(head, body, raw[: len(raw) - len(trailing)], trailing)
            case _:
                raise h11.RemoteProtocolError(f"{event!r} amid a message")


def _exchange(request: _Read, answer: _Read) -> Exchange:
    return Exchange(
        request.head.method.decode(),
        request.head.target.decode(),
        _headers(request.head),
        request.body,
        answer.head.status_code,
        _headers(answer.head),
        answer.body,
    )


def _headers(head: Any) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in head.headers}


def _reset(client: socket.socket) -> None:
    """Break the connection as a network does: with a reset, and nothing else."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
