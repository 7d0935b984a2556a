"""A real collector on a loopback socket, with accounts and a log that live in memory."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest

from tailrace.clock import SystemClock
from tailrace.collect.counters import Counters
from tailrace.collect.keys import Keys
from tailrace.collect.limits import Limits
from tailrace.collect.runtime import new_event_loop, serve_collector
from tailrace.collect.server import Collector
from tailrace.log.record import Record

KEY = "0123456789abcdef0123456789abcdef"
STAMP = 1_700_000_000_123_456


class Owner(msgspec.Struct, frozen=True):
    organization: int
    project: int


class Accounts:
    """A key source whose reads can be made to fail."""

    def __init__(self) -> None:
        self.keys = {KEY: Owner(100001, 300001)}
        self.views: set[str] = set()
        self.number = 1
        self.error: Exception | None = None
        self.versions_read = 0

    def version(self) -> int:
        self.versions_read += 1
        if self.error is not None:
            raise self.error
        return self.number

    def load(self) -> dict[str, Owner]:
        return dict(self.keys)

    def portfolios(self) -> frozenset[str]:
        return frozenset(self.views)


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """One collector that runs in a thread until `stop`."""

    def __init__(
        self,
        limits: Limits,
        append: Callable[[Record], Awaitable[int]] | None,
        options: dict[str, Any],
    ) -> None:
        self.records: list[Record] = []
        self.accounts = Accounts()
        self.log_failures: list[Exception] = []
        self._append = append
        self._limits = limits
        self._options = options
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._started = threading.Event()
        self.loop = new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._started.wait(10)

    def _run(self) -> None:
        self.loop.run_until_complete(self._serve())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        keys = Keys(self.accounts, steady_seconds=self.loop.time)
        await keys.refresh()
        self.collector = Collector(
            self._append or self._remember,
            keys,
            SystemClock(),
            limits=self._limits,
            log_failed=self.log_failures.append,
            **self._options,
        )
        refreshing = asyncio.create_task(keys.run(self._stop))
        await serve_collector(
            self.collector, self._listening, self._stop, started=self._started.set
        )
        await refreshing
        keys.close()
        self.collector.close()

    async def _remember(self, record: Record) -> int:
        self.records.append(record)
        return STAMP

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def counters(self) -> Counters:
        return self.collector.counters

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            connection.close()

    def post(
        self, body: Any, path: str = "/2/httpapi", headers: dict[str, str] | None = None
    ) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, headers)

    def raw(self, *parts: bytes, half_close: bool = False) -> bytes:
        """Send the parts on one connection and return all that comes back until it closes."""
        with socket.create_connection(self.address, timeout=20) as connection:
            for part in parts:
                connection.sendall(part)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return self.read_all(connection)

    @staticmethod
    def read_all(connection: socket.socket) -> bytes:
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        return received

    @property
    def bytes_in_flight(self) -> int:
        return self.collector.budget.bytes_used


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Served] = []

    def start(
        limits: Limits | None = None,
        append: Callable[[Record], Awaitable[int]] | None = None,
        **options: Any,
    ) -> Served:
        served = Served(limits or Limits(), append, options)
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    served = Served(Limits(), None, {})
    yield served
    served.stop()


@pytest.fixture
def api_key() -> str:
    return KEY


@pytest.fixture
def stamp() -> int:
    return STAMP


@pytest.fixture
def upload() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a request body of the given events."""

    def make(*events: Any, **keys: Any) -> dict[str, Any]:
        given = list(events) or [{"event_type": "Opened", "user_id": "user-1"}]
        return {"api_key": KEY, "events": given, **keys}

    return make
