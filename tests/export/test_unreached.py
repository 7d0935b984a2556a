"""Stores that can't be reached: whose matter that is, by real certificates and real names."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import BotoCoreError, EndpointConnectionError
from cryptography import x509

from tailrace.clock import SystemClock
from tailrace.errors import BadRequest
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.diagnose import diagnose
from tailrace.export.endpoints import NoAddress, check_endpoint
from tailrace.export.verify import verify
from tailrace.state.delivery import Cause, Destination
from tests.export.certificates import DAY, NOW, certificate_of


def new_clients(**settings: Any) -> Clients:
    return Clients(ClientSettings(**settings), lambda secret: secret.decode(), SystemClock())


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Callable[..., tuple[str, str]]]:
    """Start a server with a certificate of its own; return its URL and the certificate's file."""
    listening: list[socket.socket] = []

    def start(ends: datetime.datetime, address: str) -> tuple[str, str]:
        file = tmp_path / "certificate.pem"
        file.write_bytes(certificate_of(x509.IPAddress(ipaddress.ip_address(address)), ends))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(file)
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        threading.Thread(target=_shake_hands, args=(server, tls), daemon=True).start()
        return f"https://127.0.0.1:{server.getsockname()[1]}", str(file)

    yield start
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _shake_hands(server: socket.socket, tls: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        while True:
            taken = server.accept()[0]
            with contextlib.suppress(OSError), taken, tls.wrap_socket(taken, server_side=True):
                pass


def cause_of(destination: Destination, clients: Clients) -> Cause:
    """Return why a delivery to the destination would fail."""
    with pytest.raises((BotoCoreError, BadRequest)) as caught:
        clients.of(destination).list_objects_v2(Bucket=destination.bucket)
    return diagnose(caught.value, destination)


@pytest.mark.parametrize(
    ("ends", "address", "code", "said"),
    [
        (NOW - DAY, "127.0.0.1", "CertificateExpired", "has expired"),
        (NOW + DAY, "127.0.0.2", "CertificateOfAnotherHost", "is for another host"),
    ],
)
def test_a_certificate_that_only_the_stores_owner_can_mend_is_told_to_them(
    make_destination: Callable[..., Destination],
    tls_server: Callable[..., tuple[str, str]],
    ends: datetime.datetime,
    address: str,
    code: str,
    said: str,
) -> None:
    url, file = tls_server(ends, address)
    there = make_destination("acme", endpoint_url=url)
    trusting = new_clients(private_endpoints=True, ca_file=file)

    cause = cause_of(there, trusting)
    assert (cause.kind, cause.code, cause.permission) == ("access", code, None)
    assert "the certificate" in cause.sentence
    assert said in cause.sentence
    assert "127.0.0.1" in cause.fix
    assert cause.title == "The store's certificate is not valid"

    found = verify(there, trusting)
    assert [step.outcome for step in found.steps] == ["settings"] + ["not tried"] * 7
    assert found.missing_actions == ()


def test_an_authority_that_is_not_trusted_is_the_operators_matter(
    make_destination: Callable[..., Destination], tls_server: Callable[..., tuple[str, str]]
) -> None:
    url, _ = tls_server(NOW + DAY, "127.0.0.1")
    there = make_destination("acme", endpoint_url=url)
    assert cause_of(there, new_clients(private_endpoints=True)).kind == "operator"


def test_a_certificate_of_another_service_than_the_destinations_is_the_operators_matter(
    make_destination: Callable[..., Destination], tls_server: Callable[..., tuple[str, str]]
) -> None:
    url, file = tls_server(NOW - DAY, "127.0.0.1")
    there = make_destination("acme", endpoint_url=url)
    with pytest.raises(BotoCoreError) as caught:
        new_clients(private_endpoints=True, ca_file=file).of(there).list_buckets()
    for other in (None, "https://127.0.0.1:1"):
        moved = msgspec.structs.replace(there, endpoint_url=other)
        assert diagnose(caught.value, moved).kind == "operator"


@pytest.mark.parametrize("private_endpoints", [True, False])
def test_a_name_without_an_address_is_temporary_whichever_way_it_is_met(
    make_destination: Callable[..., Destination], private_endpoints: bool
) -> None:
    there = make_destination("acme", endpoint_url="https://s3.gone.invalid", prefix="raw/")
    clients = new_clients(private_endpoints=private_endpoints)

    cause = cause_of(there, clients)
    assert (cause.kind, cause.code) == ("temporary", "EndpointConnectionError")
    assert cause.sentence == "Cannot reach s3://acme/raw/: s3.gone.invalid has no address."
    assert "correct the endpoint's name" in cause.fix

    found = verify(there, clients)
    assert [step.outcome for step in found.steps] == ["temporary"] + ["not tried"] * 7


def test_a_store_that_lets_nobody_in_has_an_address_all_the_same(
    make_destination: Callable[..., Destination],
) -> None:
    there = make_destination("acme", endpoint_url="http://127.0.0.1:1")
    cause = cause_of(there, new_clients(private_endpoints=True))
    assert (cause.kind, cause.code) == ("temporary", EndpointConnectionError.__name__)
    assert "address" not in cause.sentence


def test_a_name_without_an_address_is_refused_where_it_is_typed() -> None:
    with pytest.raises(NoAddress, match=r"s3\.gone\.invalid has no address"):
        check_endpoint("https://s3.gone.invalid", private_allowed=False)
