"""Requests as stores are reached in production: under TLS, kept alive, through a proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError
from cryptography import x509

from tailrace.clock import SystemClock
from tailrace.export import transport
from tailrace.export.transport import Overrun, Transport
from tests.export.certificates import certificate_of

LARGE = b"x" * 300_000


class Store:
    """Answers each request with the number of bytes of its body; `path` says how."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.connections = 0
        self.tunnels = 0
        self.done = threading.Event()
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._proxy = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listening.getsockname()[1]}"
        self.proxy_url = f"http://127.0.0.1:{self._proxy.getsockname()[1]}"
        in_thread(lambda: self._accept(self._listening, self._serve))
        in_thread(lambda: self._accept(self._proxy, self._tunnel))

    def _accept(self, listening: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        while not self.done.is_set():
            with contextlib.suppress(OSError):
                accepted = listening.accept()[0]
                in_thread(lambda taken=accepted: serve(taken))

    def _serve(self, plain: socket.socket) -> None:
        self.connections += 1
        with contextlib.suppress(OSError), plain, self._tls.wrap_socket(plain, True) as taken:
            lines = taken.makefile("rb")
            while line := lines.readline():
                path = line.split()[1]
                if path == b"/unread":
                    self.done.wait(20)
                    return
                head = b"".join(iter(lines.readline, b"\r\n")).lower()
                if b"100-continue" in head:
                    taken.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                size = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
                read = b"%d" % len(lines.read(size))
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(read), read)
                if path == b"/trickle":
                    for byte in answer:
                        taken.sendall(bytes([byte]))
                        self.done.wait(0.1)
                elif path == b"/cut":
                    taken.sendall(answer[:30])
                    return
                else:
                    taken.sendall(answer)

    def _tunnel(self, asked: socket.socket) -> None:
        self.tunnels += 1
        with contextlib.suppress(OSError), asked:
            if not asked.recv(65_536).startswith(b"CONNECT localhost:"):
                return
            with socket.create_connection(self._listening.getsockname()) as reached:
                asked.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                in_thread(lambda: pump(reached, asked))
                pump(asked, reached)

    def close(self) -> None:
        self.done.set()
        for listening in (self._listening, self._proxy):
            # Wakes its thread, which closing alone would not.
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()


def in_thread(step: Callable[..., None]) -> None:
    threading.Thread(target=step, daemon=True).start()


def pump(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError), source, to:
        while part := source.recv(65_536):
            to.sendall(part)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(certificate_of(x509.DNSName("localhost")))
    return file


@pytest.fixture
def store(certificate: Path) -> Iterator[Store]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    made = Store(tls)
    yield made
    made.close()


@pytest.fixture(params=["straight", "through a proxy"])
def send(request: pytest.FixtureRequest, store: Store, certificate: Path) -> Callable[..., Any]:
    by_proxy = request.param == "through a proxy"
    made = Transport(
        SystemClock(),
        ca_file=str(certificate),
        proxies={"https": store.proxy_url} if by_proxy else {},
        timeouts_seconds=(0.5, 5.0),
        connections_max=2,
    )

    def put(path: str, body: bytes = b"", **headers: str) -> bytes:
        asked = AWSRequest(
            "PUT",
            store.url + path,
            data=body,
            headers={"Content-Length": str(len(body)), **headers},
        )
        answer = made.send(asked.prepare(), "before-send.s3.PutObject")
        assert bool(store.tunnels) == by_proxy
        return bytes(answer.content)

    return put


def test_one_connection_carries_one_request_after_the_other(
    store: Store, send: Callable[..., bytes]
) -> None:
    answers = [
        send("/"),
        send("/", LARGE),
        send("/", LARGE, Expect="100-continue"),
        send("/", b"abc"),
    ]

    assert answers == [b"0", b"300000", b"300000", b"3"]
    assert store.connections == 1


@pytest.mark.parametrize("path", ["/trickle", "/cut"])
def test_a_connection_whose_answer_was_not_read_whole_is_not_used_again(
    store: Store, send: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    assert send("/") == b"0"
    with monkeypatch.context() as short:
        short.setattr(transport, "ANSWER_SECONDS", 0.3)
        with pytest.raises(BotoCoreError):
            send(path)

    assert send("/", b"abc") == b"3"
    assert store.connections == 2


def test_a_store_that_takes_no_bytes_is_as_slow_as_one_that_sends_none(
    store: Store, send: Callable[..., bytes]
) -> None:
    # More than systems take in that nobody reads.
    with pytest.raises(HTTPClientError) as caught:
        send("/unread", LARGE * 100)

    assert isinstance(caught.value.kwargs["error"], Overrun)
    assert send("/", b"abc") == b"3"
