"""`Exchange`: one request on a connection and its answer, as bytes; `runtime` makes them."""

from __future__ import annotations

import http
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tailrace.collect import answers
from tailrace.collect.answers import Answer
from tailrace.collect.outflow import CUT, ClientGone

CLOSE = (b"connection", b"close")

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in http.HTTPStatus
}


class Exchange(RequestResponseCycle):
    """uvicorn's request and its answer; a short answer goes out in one write instead of two.

    Each write is a system call and wakes the client.
    """

    _start: Any = None
    _is_long = False

    async def send(self, message: Any) -> None:
        """Take a part of an answer, as ASGI has them; `CUT` ends the connection in its middle.

        Raise `ClientGone` for a piece of a long body that nobody is there to read.
        """
        if message["type"] == CUT:
            self.disconnected = True
            self.transport.abort()
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        self._is_long = self._is_long or message.get("more_body", False)
        if self._is_long:
            self._write_piece(message["body"], is_last=not message["more_body"])
        else:
            self._write(self._start["status"], self._start["headers"], message["body"])

    def respond(self, answer: Answer) -> None:
        """Send an answer from outside of the application's task."""
        try:
            self._write(answer.status, answers.headers_of(answer), answer.body)
        finally:
            # What else ends with that task: connection and request would keep each other.
            self.on_response = _nothing

    def _write(self, status: int, headers: answers.Headers, body: bytes) -> None:
        if self.disconnected:
            return
        head = self._head(status, headers)
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self._complete()

    def _write_piece(self, piece: bytes, *, is_last: bool) -> None:
        # Only the connection's last request learns of its end.
        if self.disconnected or self.transport.is_closing():
            raise ClientGone("The client is gone.")
        if not self.response_started:
            self.transport.write(self._head(self._start["status"], self._start["headers"]))
        if piece:
            self.transport.write(piece)
        if is_last:
            self._complete()

    def _head(self, status: int, headers: answers.Headers) -> bytes:
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, CLOSE]
        self.response_started = True
        lines = [b"%s: %s\r\n" % header for header in headers]
        return b"".join([_STATUS_LINES[status], *lines, b"\r\n"])

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _nothing() -> None:
    pass
