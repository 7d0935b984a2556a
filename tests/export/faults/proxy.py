"""A network between the exporter and a real S3 server, in which rules play faults.

What reaches the server is written down behind every fault, so that a proof can be had from it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import h11

from tests.export.faults.exchange import Exchange, Gone, Reached

Fault = Callable[[Exchange], None]
_CLOSE_SECONDS = 60
_SETTLE_SECONDS = 60


class Rule:
    """A fault for requests of one operation on keys of a pattern: the `nth` such, `times` long.

    `met` counts the requests that fit, `played` those that the fault was played on.
    """

    def __init__(self, operation: str, fault: Fault, key: str, nth: int, times: int | None) -> None:
        self.met = 0
        self.played = 0
        self.fault = fault
        self._operation = operation
        self._key = key
        self._nth = nth
        self._times = times

    def takes(self, exchange: Exchange) -> bool:
        """Count a request that fits, and say whether its turn has come."""
        fits = fnmatch.fnmatchcase(exchange.operation, self._operation)
        if not (fits and fnmatch.fnmatchcase(exchange.key, self._key)):
            return False
        self.met += 1
        on = self.met >= self._nth and (self._times is None or self.met < self._nth + self._times)
        self.played += on
        return on


class FaultProxy:
    """The proxy: `url` is its endpoint, `requests` what came, `reached` what got through."""

    def __init__(self, server_url: str, *, receive_bytes: int | None = None) -> None:
        self.target = urlsplit(server_url).netloc
        self.requests: list[tuple[str, str]] = []
        self.reached: list[Reached] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._under_way = 0
        self._receive_bytes = receive_bytes
        self._port = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.listen()
        self.url = f"http://127.0.0.1:{self._port}"

    def play(
        self, operation: str, fault: Fault, key: str = "*", *, nth: int = 1, times: int | None = 1
    ) -> Rule:
        """Add a rule, `times` None: until `calm`. The oldest whose turn it is plays."""
        rule = Rule(operation, fault, key, nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def calm(self) -> None:
        """End all faults."""
        with self._lock:
            self._rules.clear()

    def note(self, reached: Reached) -> None:
        """Write down what the server did."""
        with self._lock:
            self.reached.append(reached)

    def settle(self) -> None:
        """Wait until no request is under way, also none whose client has gone."""
        with self._settled:
            assert self._settled.wait_for(lambda: self._under_way == 0, _SETTLE_SECONDS)

    def count(self, operation: str = "*", key: str = "*") -> int:
        """Count the requests that came."""
        with self._lock:
            return sum(
                fnmatch.fnmatchcase(one, operation) and fnmatch.fnmatchcase(at, key)
                for one, at in self.requests
            )

    def listen(self) -> None:
        """Take connections, after `refuse` at the same port."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        self._listener.bind(("127.0.0.1", self._port))
        self._listener.listen(64)
        self._port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def refuse(self) -> None:
        """Refuse connections, and close those that are open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_now = list(self._open)
        for sock in open_now:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop; every thread has ended on return."""
        self.calm()
        with contextlib.suppress(OSError):
            self.refuse()
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)

    def _start(self, target: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(sock,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open.add(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        conn = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError, h11.RemoteProtocolError, Gone), sock:
            while True:
                exchange = Exchange(self.target, self.note, sock, conn)
                if not exchange.begin():
                    break
                self._meet(exchange)
                if conn.our_state is h11.MUST_CLOSE or conn.their_state is not h11.DONE:
                    break
                conn.start_next_cycle()
        with self._lock:
            self._open.discard(sock)

    def _meet(self, exchange: Exchange) -> None:
        with self._lock:
            self._under_way += 1
            self.requests.append((exchange.operation, exchange.key))
            rule = next((rule for rule in self._rules if rule.takes(exchange)), None)
        try:
            if rule is None:
                exchange.give(exchange.pass_on())
            else:
                rule.fault(exchange)
        finally:
            with self._settled:
                self._under_way -= 1
                self._settled.notify_all()
