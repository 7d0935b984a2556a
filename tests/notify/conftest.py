"""A mail server on loopback, with certificates of its own, and folders with a refused bucket."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.engine import Engine

from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import NewPerson, add_person
from tailrace.accounts.roles import Role, checked_role
from tailrace.clock import MICROS
from tailrace.ids import SystemIds
from tailrace.notify.notices import Notices
from tailrace.notify.outage_mails import Mailing
from tailrace.notify.room import RoomGauge
from tailrace.settings import AwsSettings, Settings, SmtpSettings
from tailrace.state.database import open_database
from tailrace.state.delivery import Cause, Destination
from tailrace.state.destinations import Destinations
from tailrace.state.mails import Mails
from tests.export.conftest import bucket as bucket
from tests.export.conftest import clean_environment as clean_environment
from tests.export.conftest import clients as clients
from tests.export.conftest import make_destination as make_destination
from tests.export.conftest import owner as owner
from tests.export.conftest import world as world
from tests.notify.mailing import Disk
from tests.state.conftest import Books

USER = "tailrace@example.com"
PASSWORD = "correct horse"


class Received(msgspec.Struct, frozen=True):
    """A mail as the server got it."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.data, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def part(self, kind: str) -> str:
        """Return the text of `plain` or `html`, as a mail program shows it."""
        body = self.message.get_body((kind,))
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")


class MailServer:
    """A real SMTP server that keeps what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, str] = {}
        self.connections = 0
        self.encrypted: list[bool] = []
        self.signed_in: list[bool] = []
        self.before_answer: Callable[[], None] | None = None

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return lines

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self.answers.get("MAIL"):
            return answer
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self.answers.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if answer := self.answers.get("DATA"):
            return answer
        assert envelope.mail_from is not None
        assert isinstance(envelope.content, bytes)
        self.received.append(
            Received(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content)
        )
        assert server.transport is not None
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.signed_in.append(bool(session.authenticated))
        if self.before_answer is not None:
            self.before_answer()
        return "250 OK"

    @property
    def texts(self) -> list[str]:
        """The subjects of what it got, in order."""
        return [str(one.message["Subject"]) for one in self.received]


class Certificates(msgspec.Struct, frozen=True):
    """A certificate for 127.0.0.1 with its key, and the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    authority = _sign(authority_name, authority_name, authority_key, authority_key)
    signed = _sign(server_name, authority_name, key, authority_key)
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    made.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _sign(subject: x509.Name, issuer: x509.Name, key: Any, by: Any) -> x509.Certificate:
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=key is by, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=key is by,
                crl_sign=key is by,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if key is not by:
        name = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        made = made.add_extension(name, critical=False)
    return made.sign(by, hashes.SHA256())


@contextmanager
def running(
    server: MailServer, *, ssl_context: ssl.SSLContext | None = None, **options: Any
) -> Iterator[SmtpSettings]:
    """Let a server listen on a free port of loopback; give settings that reach it."""
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        return SMTP(server, loop=loop, hostname="mail.test", **options)

    listening = loop.run_until_complete(
        loop.create_server(protocol, "127.0.0.1", 0, ssl=ssl_context)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield SmtpSettings(
            host="127.0.0.1",
            port=listening.sockets[0].getsockname()[1],
            security="none",
            sender="exports@tailrace.example",
            operator=("ops@tailrace.example",),
            timeout_seconds=10,
        )
    finally:
        asyncio.run_coroutine_threadsafe(_end(listening), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(listening: asyncio.Server) -> None:
    listening.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def mail_server() -> MailServer:
    return MailServer()


@pytest.fixture
def smtp(mail_server: MailServer) -> Iterator[SmtpSettings]:
    """Settings of a server without TLS, which is running."""
    with running(mail_server) as settings:
        yield settings


@pytest.fixture
def server_tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def check_password(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
) -> AuthResult:
    """Let in the one account that there is."""
    right = isinstance(given, LoginPassword) and given == LoginPassword(
        USER.encode(), PASSWORD.encode()
    )
    return AuthResult(success=right, handled=False)


class Office(Books):
    """Books of an organization with people, and the mails that are made of them."""

    def __init__(self, engine: Engine, smtp: SmtpSettings) -> None:
        super().__init__(engine)
        self.disk = Disk()
        self.settings = Settings(
            smtp=smtp,
            aws=AwsSettings(principal_arn="arn:aws:iam::111122223333:role/tailrace"),
        )
        self.mails = Mails(engine, self.clock)
        self.people = {
            "ann@acme.example": "admin",
            "bob@acme.example": "admin",
            "cleo@acme.example": "manager",
            "dan@acme.example": "viewer",
        }
        for email, role in self.people.items():
            self.add_person(email, checked_role(role))
        self.destinations = Destinations(engine, self.clock, by="cleo@acme.example")

    def add_person(self, email: str, role: Role) -> None:
        passwords = Passwords(SystemIds())
        add_person(
            self.engine,
            self.organization,
            NewPerson(email, role),
            passwords=passwords,
            clock=self.clock,
        )

    @property
    def mailing(self) -> Mailing:
        gauge = RoomGauge(self.engine, self.disk, Path("/"), self.settings.disk, self.clock)
        return Mailing(self.engine, self.clock, SystemIds(), self.settings, gauge)

    def notices(self) -> Notices:
        """Return the service's notices, as after a start."""
        return Notices(self.mailing, self.clock)

    def refuse(self, destination: Destination, cause: Cause | None = None) -> None:
        """Begin an outage whose missing actions the probes have found."""
        cause = cause or self.refused
        self.ledger.begin_outage(destination.id, cause, 0)
        self.ledger.looked_into(destination.id, cause)

    def heal(self, destination: Destination) -> None:
        """End an outage and deliver something."""
        self.ledger.end_outage(destination.id)
        self.deliver(self.held())

    def wait(self, *, hours: float = 0, seconds: float = 0) -> None:
        self.clock.advance(round((hours * 3600 + seconds) * MICROS))

    def kinds(self) -> list[str]:
        """What kinds of mails there are, oldest first."""
        return [one.kind for one in reversed(self.mails.newest())]


@pytest.fixture
def office(tmp_path: Path, empty_database: bytes, smtp: SmtpSettings) -> Iterator[Office]:
    (tmp_path / "tailrace.sqlite").write_bytes(empty_database)
    engine = open_database(tmp_path / "tailrace.sqlite")
    yield Office(engine, smtp)
    engine.dispose()
