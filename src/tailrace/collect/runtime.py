"""Serve one collector process on a listening socket, with limits on every connection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable, Iterator, Sized
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tailrace.collect import answers
from tailrace.collect.answers import Answer
from tailrace.collect.exchange import CLOSE, Exchange
from tailrace.collect.server import Collector

# A request's head, from the connection or its first byte: browsers send some hundred bytes.
HEAD_SECONDS = 15.0
HEAD_BYTES_MAX = 65_536
# SDKs flush every 10 s or so; a proxy in front keeps its own connections open longer.
KEEP_ALIVE_SECONDS = 75
# Each connection may hold what no request has claimed yet: one read, and what it comes on top of.
CONNECTIONS_MAX = 4096
READ_BYTES = 32_768
# While there are few, a request of a hundred events comes in one read; 6 MiB more for all of them.
FEW_CONNECTIONS_MAX = 64
FEW_READ_BYTES = 131_072
UNCLAIMED_BYTES_MAX = 16_384
# Requests that wait on a connection for the answer to another take 3 KB each, however short.
PIPELINED_MAX = 16
# What one answer, or one piece of a long one, left unsent is read by the client within this.
WRITE_SECONDS = 30.0
BACKLOG = 2048
# In-flight requests are answered within this after `stop`.
STOP_SECONDS = 5


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop where it is installed, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def serve_collector(
    collector: Collector,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests on `listening` until `stop` is set; then finish what is in flight.

    The socket must be bound; it is closed on return. `started` is called once requests are
    taken. Signals are left to the caller.
    """
    config = uvicorn.Config(
        collector,
        http=_small_reads,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=BACKLOG,
    )
    server = _Server(config, started)
    # What is loaded now lives as long as the process: keep the collector of cycles off it, and
    # let it run less often, because decoding makes many containers and no cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    stopping = asyncio.create_task(_stop_on(stop, server))
    try:
        await server.serve(sockets=[listening])
    finally:
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        listening.close()


async def _stop_on(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's server without its signals."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Flow(FlowControl):
    """uvicorn's flow control, which reads no more while requests wait for their turn.

    Otherwise each answer would let in another read, of thousands of short requests.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class _Connection(HttpToolsProtocol):
    """uvicorn's connection with limits on a request's head and on the number of connections.

    Its own refusals are JSON with CORS, like every other answer.
    """

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _feeding = False
    _unstarted: tuple[RequestResponseCycle, Any] | None = None
    # The last request that was begun, or is about to be.
    _running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        # Writing is paused as soon as the client lags by more than the kernel holds for it.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(answers.unavailable("Too many connections; try again later."))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_awaiting_head()
        super().connection_lost(exc)
        self._stop_write_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self._is_not_read)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _is_not_read(self) -> None:
        # Closing would wait for the client as well.
        self._write_timer = None
        self.transport.abort()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what came whole from a client that sends no more: it may still read."""
        running = self._running
        if running is None or running.more_body or running.response_complete:
            return None
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else running
        last.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        fed = self.cycle
        fed_bytes = 0 if fed is None else len(fed.body)
        if self._in_head:
            self._head_bytes += len(data)
        self._feeding = True
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
        self._feeding = False
        if self._unstarted is not None:
            self._start(*self._unstarted)
        if self._in_head:
            if self._head_timer is None:
                self._await_head()
        else:
            cycle = self.cycle
            if cycle is None or (cycle.response_complete and not self.pipeline):
                # Line ends before a head are no request, and put no end to the wait for one.
                if self._head_timer is None:
                    self._await_head()
                return
            self._stop_awaiting_head()
            if not cycle.more_body:
                return
            if len(cycle.body) > UNCLAIMED_BYTES_MAX:
                # The request reads on by itself, when the budget of bytes in flight lets it.
                self.flow.pause_reading()
            # Trailers and the like between and behind a body's chunks are limited as a head is.
            grew = cycle is not fed or len(cycle.body) > fed_bytes
            self._head_bytes = 0 if grew else self._head_bytes + len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(answers.failure(431, "Request header fields too large"))

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offered:
                data = self._without_upgrade() + data[offered.args[0] :]

    def _without_upgrade(self) -> bytes:
        """Return the last head without its offer of another protocol, for a new parser.

        The offer, as of HTTP/2 by Java's client, is declined by an answer as if it were not there.
        The parser would take the body for the other protocol's bytes.
        """
        if self.scope["method"] == "CONNECT":
            raise httptools.HttpParserError("Nothing is connected here.")
        if self.pipeline:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running  # type: ignore[assignment]
        elif self._unstarted is not None and self._unstarted[0] is self.cycle:
            self._unstarted = self.cycle = None  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(AttributeError):  # as uvicorn sets it, where there is such a thing
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        lines = [b"%s: %s" % header for header in self.scope["headers"] if header[0] != b"upgrade"]
        start = f"{self.scope['method']} ".encode() + self.url
        version = self.scope["http_version"].encode()
        return b"\r\n".join([start + b" HTTP/" + version, *lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.pipeline) >= PIPELINED_MAX:
            # None of them is begun: the running one's answer ends the connection.
            raise _TooManyAtOnce
        super().on_headers_complete()
        # uvicorn has no place to say of which class it shall be.
        self.cycle.__class__ = Exchange
        # Bytes are not copied when the first are added to none, nor when they are handed on.
        self.cycle.body = b""  # type: ignore[assignment]
        # Trailers are no headers: a proxy that names its client has not seen them.
        self.headers = []

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self._feeding:
            # Begun when all of the read is parsed, and it shows whether the request is whole.
            self._unstarted = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def _start(self, cycle: RequestResponseCycle, collector: Any) -> None:
        """Begin a request; one that is here whole may need no task of its own.

        While the client reads no answers, a task waits with the next one until it does.
        """
        self._unstarted = None
        is_whole = not (
            cycle.more_body or cycle.waiting_for_100_continue or self.transport.is_closing()
        )
        if is_whole and isinstance(cycle, Exchange) and not self.flow.write_paused:
            body = bytes(cycle.body)
            if collector.take_whole(cycle.scope, body, cycle.respond):
                cycle.body = b""  # type: ignore[assignment]
                return
        self._start_asgi_task(cycle, collector)

    def send_400_response(self, msg: str) -> None:
        too_long = len(self.url) >= HEAD_BYTES_MAX
        self._refuse(
            answers.too_long() if too_long else answers.failure(400, "Invalid HTTP request")
        )

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _stop_awaiting_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, answer: Answer) -> None:
        running = self._running
        if running is not None and not running.more_body and not running.response_complete:
            # A request that came whole is answered, and what follows it is not: it may be stored,
            # and a client that read this refusal in place of the 200 would take it for lost.
            running.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()
        elif not self.transport.is_closing():
            self.transport.write(_raw_response(answer))
            self.transport.close()


class _TooManyAtOnce(Exception):
    """A client does not wait for its answers."""


class _SmallReads(asyncio.BufferedProtocol):
    """Read at most `READ_BYTES` at once for a connection, or `FEW_READ_BYTES` while there are few.

    The loop alone would read up to 256 KiB, which thousands of connections would hold at a time.
    """

    # One for all: what was read is copied before anything else is.
    _large = memoryview(bytearray(FEW_READ_BYTES))
    _small = _large[:READ_BYTES]

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.connection_made = connection.connection_made  # type: ignore[assignment]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        few = len(self._connection.connections) <= FEW_CONNECTIONS_MAX
        return self._large if few else self._small

    def buffer_updated(self, nbytes: int) -> None:
        # The parser copies what it keeps.
        self._connection.data_received(self._large[:nbytes])  # type: ignore[arg-type]


def _small_reads(*arguments: Any, **options: Any) -> _SmallReads:
    return _SmallReads(_Connection(*arguments, **options))


def _raw_response(answer: Answer) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % header for header in [*answers.headers_of(answer), CLOSE])
    return b"HTTP/1.1 %d Refused\r\n%s\r\n%s" % (answer.status, lines, answer.body)
