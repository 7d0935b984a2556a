"""A store under a certificate of one's own authority, which `export.ca_file` names."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore import httpsession
from cryptography import x509

from tailrace.app.destinations import open_clients, open_secrets
from tailrace.clock import SystemClock
from tailrace.demo import seaweed
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.verify import verify
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.settings import ExportSettings, Settings
from tailrace.state.delivery import Destination
from tests.export.certificates import certificate_of

_PIECE_BYTES = 65_536


@pytest.fixture
def under_tls(
    server: seaweed.Seaweed, tmp_path: Path
) -> Iterator[Callable[[str], tuple[str, str]]]:
    """Put the real store behind TLS; return its URL, and the file of its authority."""
    store, listening = urlsplit(server.endpoint_url), []

    def start(name: str) -> tuple[str, str]:
        file = tmp_path / name
        file.write_bytes(certificate_of(x509.IPAddress(ipaddress.ip_address("127.0.0.1"))))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(file)
        front = socket.create_server(("127.0.0.1", 0))
        listening.append(front)
        behind = (store.hostname or "", store.port or 0)
        threading.Thread(target=_serve, args=(front, tls, behind), daemon=True).start()
        return f"https://127.0.0.1:{front.getsockname()[1]}", str(file)

    yield start
    for front in listening:
        front.shutdown(socket.SHUT_RDWR)
        front.close()


def _serve(front: socket.socket, tls: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        while True:
            taken = front.accept()[0]
            threading.Thread(target=_pass_on, args=(taken, tls, behind), daemon=True).start()


def _pass_on(plain: socket.socket, tls: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with (
        contextlib.suppress(OSError),
        plain,
        tls.wrap_socket(plain, server_side=True) as taken,
        socket.create_connection(behind) as store,
    ):
        answers = threading.Thread(target=_pump, args=(store, taken), daemon=True)
        answers.start()
        _pump(taken, store)
        answers.join()


def _pump(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            to.sendall(piece)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def clients_with(ca_file: str) -> Clients:
    settings = ClientSettings(private_endpoints=True, ca_file=ca_file)
    return Clients(settings, lambda secret: secret.decode(), SystemClock())


def test_a_store_of_ones_own_authority_is_trusted_once_that_is_named(
    make_destination: Callable[..., Destination],
    bucket: str,
    under_tls: Callable[[str], tuple[str, str]],
) -> None:
    url, authority = under_tls("own.pem")
    there = make_destination(bucket, endpoint_url=url)

    refused = verify(there, clients_with("")).steps[0].cause
    assert refused is not None
    assert refused.kind == "operator"
    assert "export.ca_file" in refused.fix

    assert verify(there, clients_with(authority)).passed


def test_the_public_authorities_stay_trusted_beside_it(
    make_destination: Callable[..., Destination],
    bucket: str,
    under_tls: Callable[[str], tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, public = under_tls("public.pem")
    _, own = under_tls("own.pem")
    monkeypatch.setattr(httpsession, "where", lambda: public)
    there = make_destination(bucket, endpoint_url=url)

    assert verify(there, clients_with(own)).passed


def test_the_setting_reaches_the_service(
    tmp_path: Path,
    make_destination: Callable[..., Destination],
    server: seaweed.Seaweed,
    bucket: str,
    under_tls: Callable[[str], tuple[str, str]],
) -> None:
    url, authority = under_tls("own.pem")
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    secret = open_secrets(folder).encrypt(server.exporter.secret_access_key)
    there = make_destination(bucket, endpoint_url=url, secret_encrypted=secret)
    export = ExportSettings(private_endpoints=True, ca_file=authority)

    assert verify(there, open_clients(folder, Settings(export=export))).passed


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_named_with_its_setting(
    make_destination: Callable[..., Destination], tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "wrong.pem"
    if content is not None:
        file.write_bytes(content)

    found = verify(make_destination("acme"), clients_with(str(file)))

    assert found.steps[0].outcome == "operator"
    cause = found.steps[0].cause
    assert cause is not None
    assert cause.kind == "operator"
    assert "wrong.pem (export.ca_file)" in cause.sentence
