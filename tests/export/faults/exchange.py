"""One request on its way through the proxy, and everything that a fault may do with it."""

from __future__ import annotations

import contextlib
import hashlib
import http
import http.client
import socket
import struct
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import msgspec

Headers = list[tuple[str, str]]
_RECEIVE_BYTES = 64 * 1024
_SERVER_SECONDS = 60
_OPERATIONS = {"HEAD": "Head", "GET": "Get", "PUT": "Put", "DELETE": "Delete"}
_HOP_HEADERS = {"content-length", "transfer-encoding", "connection"}


class Answer(msgspec.Struct, frozen=True):
    """What the server, or a fault in its stead, answers."""

    status: int
    headers: Headers
    body: bytes

    @property
    def ok(self) -> bool:
        """Say whether it was done; an error may come inside a 200."""
        return 200 <= self.status < 300 and b"<Error>" not in self.body


class Reached(msgspec.Struct, frozen=True):
    """One request that reached the server, and what the server itself answered."""

    operation: str
    bucket: str
    key: str
    upload_id: str | None
    sha256: str
    conditional: bool
    ok: bool
    status: int


class Exchange:
    """One request at the proxy, and everything that may be done with it."""

    def __init__(
        self,
        server: str,
        note: Callable[[Reached], None],
        sock: socket.socket,
        conn: h11.Connection,
    ) -> None:
        self._server = server
        self._note = note
        self._sock = sock
        self._conn = conn
        self._body = bytearray()
        self._whole = False
        self.method = self.target = self.operation = self.bucket = self.key = ""
        self.headers: Headers = []
        self.upload_id: str | None = None

    def begin(self) -> bool:
        """Wait for a request's head; False if the client has gone."""
        event = self._next()
        if not isinstance(event, h11.Request):
            return False
        self.method, self.target = event.method.decode(), event.target.decode()
        self.headers = [(name.decode(), text.decode()) for name, text in event.headers.raw_items()]
        parts = urlsplit(self.target)
        query = parse_qs(parts.query, keep_blank_values=True)
        self.bucket, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        self.upload_id = query.get("uploadId", [None])[0]
        self.operation = operation_of(self.method, self.key, query)
        return True

    def read(self, limit: int | None = None) -> bytes:
        """Read the body, or the beginning of it, and return what has been read."""
        if self._conn.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._sock.sendall(self._conn.send(go_on))
        while not self._whole and (limit is None or len(self._body) < limit):
            event = self._next()
            if isinstance(event, h11.ConnectionClosed):
                raise Gone
            self._take(event)
        return bytes(self._body)

    def sip(self, limit: int) -> int | None:
        """Read at most so many bytes of the body; return how many, None when it has ended."""
        if self._conn.they_are_waiting_for_100_continue:
            self.read(0)
        event = self._conn.next_event()
        if event is h11.NEED_DATA:
            self._conn.receive_data(self._sock.recv(limit))
            return 0
        size = self._take(event)
        return None if self._whole else size

    def pass_on(self) -> Answer:
        """Let the server do it, write that down, and return the server's answer."""
        body = self.read()
        headers = {name: text for name, text in self.headers if name.lower() != "expect"}
        server = http.client.HTTPConnection(self._server, timeout=_SERVER_SECONDS)
        with contextlib.closing(server):
            server.request(self.method, self.target, body, headers)
            got = server.getresponse()
            answer = Answer(got.status, got.getheaders(), got.read())
        self._note(
            Reached(
                self.operation,
                self.bucket,
                self.key,
                self.upload_id,
                hashlib.sha256(body).hexdigest(),
                "if-none-match" in {name.lower() for name in headers},
                answer.ok,
                answer.status,
            )
        )
        return answer

    def give(self, answer: Answer) -> None:
        """Answer the client."""
        self.send(self.bytes_of(answer))

    def bytes_of(self, answer: Answer) -> bytes:
        """Return an answer as it goes over the network."""
        length = str(len(answer.body))
        if self.method == "HEAD":
            length = {n.lower(): text for n, text in answer.headers}.get("content-length", "0")
        headers = [(n, text) for n, text in answer.headers if n.lower() not in _HOP_HEADERS]
        # botocore takes no answer for one before the body that has no reason beside its status.
        head = h11.Response(
            status_code=answer.status,
            headers=[*headers, ("Content-Length", length)],
            reason=http.HTTPStatus(answer.status).phrase.encode(),
        )
        data = self._conn.send(head) or b""
        if self.method != "HEAD":
            data += self._conn.send(h11.Data(data=answer.body)) or b""
        return data + (self._conn.send(h11.EndOfMessage()) or b"")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.sendall(data)

    def close(self) -> None:
        """Close the connection in good order."""
        raise Gone

    def reset(self) -> None:
        """Close the connection with a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def half_close(self) -> None:
        """Send a FIN, and go on reading until the client closes as well."""
        self._sock.shutdown(socket.SHUT_WR)
        while self._sock.recv(_RECEIVE_BYTES):
            pass
        raise Gone

    def _take(self, event: object) -> int:
        if isinstance(event, h11.Data):
            self._body += event.data
            return len(event.data)
        self._whole = True
        return 0

    def _next(self) -> object:
        while True:
            event = self._conn.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._conn.receive_data(self._sock.recv(_RECEIVE_BYTES))


class Gone(Exception):
    """The connection is to be closed."""


def operation_of(method: str, key: str, query: dict[str, list[str]]) -> str:
    """Name a request as S3 does."""
    if not key:
        return "HeadBucket" if method == "HEAD" else "ListObjectsV2"
    if "partNumber" in query:
        return "UploadPart"
    if "uploadId" in query:
        return "CompleteMultipartUpload" if method == "POST" else "AbortMultipartUpload"
    if method == "POST":
        return "CreateMultipartUpload"
    return _OPERATIONS[method] + "Object"
