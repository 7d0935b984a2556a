"""`Exchange`: one request on a connection and its answer, as bytes; `runtime` makes them."""

from __future__ import annotations

import http
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tailrace.collect import answers
from tailrace.collect.answers import Answer

CLOSE = (b"connection", b"close")

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in http.HTTPStatus
}


class Exchange(RequestResponseCycle):
    """uvicorn's request and its answer; an answer goes out in one write instead of two.

    Each write is a system call and wakes the client.
    """

    _start: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
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
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, CLOSE]
        parts = [_STATUS_LINES[status], *[b"%s: %s\r\n" % header for header in headers], b"\r\n"]
        if self.scope["method"] != "HEAD":
            parts.append(body)
        self.response_started = True
        self.transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _nothing() -> None:
    pass
