"""How a request is sent to a store: within a total time and size, however slowly bytes trickle.

botocore limits each silence, so a byte now and then could hold a worker for ever. `client.py` lets
each of its clients send through a `Transport`.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from botocore import awsrequest
from botocore.httpsession import URLLib3Session

from tailrace.clock import MICROS, Clock
from tailrace.errors import NeedsOperator, Transient

# A store answers in seconds; one that takes longer is out of order and is asked again later.
ANSWER_SECONDS = 60
# S3 may put the parts of a large upload together for several minutes and sends blanks meanwhile.
COMPLETE_SECONDS = 600
# Four workers at this rate are a line of 1 Mbit/s, which carries 470 MB an hour.
BYTES_PER_SECOND_MIN = 32 * 1024
# What stores answer to the requests that are made here are some hundred bytes.
ANSWER_BYTES_MAX = 1024**2
# A write is cut so that the time is looked at in between, also by the other side of a slow line.
_WRITE_BYTES = 16 * 1024


class Overrun(Transient):
    """The store took longer, or answered more, than any request may; the connection is closed."""


class Allowance:
    """The time and the bytes that one request may still take. Used by one thread."""

    def __init__(
        self, operation: str, body_bytes: int, clock: Clock, progress: Callable[[], None]
    ) -> None:
        seconds = COMPLETE_SECONDS if operation == "CompleteMultipartUpload" else ANSWER_SECONDS
        self.seconds = seconds + body_bytes // BYTES_PER_SECOND_MIN
        self._operation = operation
        self._clock = clock
        self._progress = progress
        self._end_micros = clock.steady_micros() + self.seconds * MICROS
        self._answer_bytes = 0

    def left_seconds(self) -> float:
        """Return the time left; raise `Overrun` if there is none."""
        left = self._end_micros - self._clock.steady_micros()
        if left <= 0:
            raise Overrun(
                f"The store had not answered {self._operation} whole after {self.seconds} s. "
                "The connection was closed, and it is tried again."
            )
        return left / MICROS

    def stalled(self) -> Overrun:
        """Return what to raise when the store takes no bytes of the request."""
        return Overrun(
            f"The store took no more bytes of {self._operation}. The connection was closed, and it "
            "is tried again."
        )

    def read(self, size_bytes: int) -> None:
        """Note bytes of the answer; raise `Overrun` above the limit."""
        self._answer_bytes += size_bytes
        if self._answer_bytes > ANSWER_BYTES_MAX:
            raise Overrun(
                f"The store's answer to {self._operation} has more than {ANSWER_BYTES_MAX} bytes. "
                "The connection was closed, and it is tried again."
            )
        self._progress()


def _nothing() -> None:
    """Nobody waits for signs of life."""


def any_address(_: str) -> None:
    """Take every address."""


_under_way: ContextVar[Allowance] = ContextVar("under_way")
_check_address: ContextVar[Callable[[str], None]] = ContextVar("check_address", default=any_address)
_progress: ContextVar[Callable[[], None]] = ContextVar("progress", default=_nothing)


@contextlib.contextmanager
def alive(progress: Callable[[], None]) -> Iterator[None]:
    """Call `progress` whenever bytes of an answer come in, in this thread."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


class Transport:
    """Sends the requests of one client; `send` is a handler of its `before-send` event.

    `check_address` raises for an address that a new connection must not lead to. It is asked after
    the connection is made and before a byte is sent, because a name may resolve anew each time.
    `ca_file` names certificates to trust besides the public authorities, if it is not empty; raise
    `NeedsOperator` where it can't be read.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ca_file: str,
        proxies: dict[str, str],
        timeouts_seconds: tuple[float, float],
        connections_max: int,
        check_address: Callable[[str], None] = any_address,
    ) -> None:
        self._clock = clock
        self._check_address = check_address
        self._session = _Session(
            ca_file,
            proxies=proxies,
            timeout=timeouts_seconds,
            max_pool_connections=connections_max,
        )

    def send(self, request: Any, event_name: str, **_: Any) -> Any:
        """Send a prepared request and return botocore's form of the answer, or raise its errors."""
        operation = event_name.rpartition(".")[2]
        body_bytes = int(request.headers.get("Content-Length", 0))
        token = _under_way.set(Allowance(operation, body_bytes, self._clock, _progress.get()))
        checking = _check_address.set(self._check_address)
        try:
            return self._session.send(request)
        finally:
            _check_address.reset(checking)
            _under_way.reset(token)


class _TimedSocket:
    """A connected socket each of whose reads and writes ends within the request's allowance."""

    def __init__(self, plain: socket.socket) -> None:
        self.allowance: Allowance | None = None
        self.ended = False
        self._plain = plain
        self._silence_seconds = plain.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        self._silence_seconds = seconds
        self._plain.settimeout(seconds)

    def sendall(self, data: Any, *flags: int) -> None:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _WRITE_BYTES):
            self._limit()
            try:
                self._plain.sendall(view[start : start + _WRITE_BYTES], *flags)
            except TimeoutError as error:
                if self.allowance is None:
                    raise
                raise self.allowance.stalled() from error

    def makefile(self, mode: str, buffering: int | None = None) -> io.RawIOBase | io.BufferedReader:
        assert mode == "rb"
        raw = _TimedReader(self, self._plain.makefile("rb", buffering=0))
        return raw if buffering == 0 else io.BufferedReader(raw)

    def read_into(self, raw: Any, buffer: Any) -> int | None:
        self._limit()
        size: int | None = raw.readinto(buffer)
        self.ended = size == 0
        if self.allowance is not None:
            self.allowance.read(size or 0)
        return size

    def _limit(self) -> None:
        if self.allowance is None:
            return
        left = self.allowance.left_seconds()
        silence = self._silence_seconds
        self._plain.settimeout(left if silence is None else min(left, silence))

    def fileno(self) -> int:
        return self._plain.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


class _TimedReader(io.RawIOBase):
    def __init__(self, timed: _TimedSocket, raw: Any) -> None:
        super().__init__()
        self._timed = timed
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        return self._timed.read_into(self._raw, buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Timed:
    """Mixed into botocore's connections: wraps the socket, and gives it each request's allowance.

    A TLS handshake and a proxy's tunnel come before; they are limited by the connect time-out.
    """

    sock: Any
    close: Any

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]  # as below
        try:
            _check_address.get()(made.getpeername()[0])
        except BaseException:
            made.close()
            raise
        return made

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the connection that this is mixed into
        self.sock = _TimedSocket(self.sock)

    def send(self, data: Any) -> Any:
        if self.sock is None:
            self.connect()
        # While a proxy's tunnel is opened the socket is a plain one.
        if isinstance(self.sock, _TimedSocket):
            self.sock.allowance = _under_way.get()
        return super().send(data)  # type: ignore[misc]  # as above

    def getresponse(self) -> Any:
        timed = self.sock
        response = super().getresponse()  # type: ignore[misc]  # as above
        if timed.ended:
            # http.client takes the end of the connection for the end of the head. Without its
            # metadata an object of ours would look like another's.
            response.close()
            self.close()
            raise ConnectionResetError("The answer ended in the middle of its head.")
        return response


class _Connection(_Timed, awsrequest.AWSHTTPConnection):  # type: ignore[misc]  # botocore's own
    pass


class _TlsConnection(_Timed, awsrequest.AWSHTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _Pool(awsrequest.AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(awsrequest.AWSHTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Session(URLLib3Session):
    def __init__(self, ca_file: str, **options: Any) -> None:
        self._ca_file = ca_file
        super().__init__(**options)
        # The session's managers hold this very dictionary, by a name that is botocore's own.
        vars(self)["_pool_classes_by_scheme"].update({"http": _Pool, "https": _TlsPool})

    def _get_ssl_context(self) -> ssl.SSLContext:
        # botocore's own, to which urllib3 adds the public authorities.
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc]  # as above
        if self._ca_file:
            try:
                context.load_verify_locations(self._ca_file)
            except OSError as error:
                raise NeedsOperator(
                    f"Cannot use the certificates in {self._ca_file} (export.ca_file): {error}. "
                    "Name a file of certificates in PEM form."
                ) from error
        return context
