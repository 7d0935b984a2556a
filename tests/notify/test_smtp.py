"""A real mail server takes messages, by STARTTLS, TLS and password, or says at which step not."""

from __future__ import annotations

import socket
import ssl
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.errors import MailServerTrouble
from tailrace.notify.smtp import open_session
from tailrace.settings import SmtpSettings
from tests.notify.conftest import (
    PASSWORD,
    USER,
    Certificates,
    MailServer,
    check_password,
    running,
)


def message(subject: str = "Hello") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = subject
    made.set_content("Words.\n.\nMore words.\n")
    return made


def send(settings: SmtpSettings, *recipients: str) -> Any:
    with open_session(settings) as session:
        return session.send(message(), recipients or ("ann@acme.example",))


def trouble(settings: SmtpSettings, *recipients: str) -> MailServerTrouble:
    with pytest.raises(MailServerTrouble) as raised:
        send(settings, *recipients)
    return raised.value


def change(settings: SmtpSettings, **values: Any) -> SmtpSettings:
    return msgspec.structs.replace(settings, **values)


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return str(path)


def test_a_message_arrives_whole(smtp: SmtpSettings, mail_server: MailServer) -> None:
    assert send(smtp, "ann@acme.example", "bob@acme.example") == ()

    (got,) = mail_server.received
    assert got.sender == "exports@tailrace.example"
    assert got.recipients == ("ann@acme.example", "bob@acme.example")
    assert got.part("plain") == "Words.\n.\nMore words.\n"


def test_several_messages_go_through_one_session(
    smtp: SmtpSettings, mail_server: MailServer
) -> None:
    with open_session(smtp) as session:
        for number in range(3):
            session.send(message(f"Mail {number}"), ["ann@acme.example"])

    assert mail_server.texts == ["Mail 0", "Mail 1", "Mail 2"]
    assert mail_server.connections == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_connection_is_encrypted_and_signed_in(
    mail_server: MailServer,
    certificates: Certificates,
    server_tls: ssl.SSLContext,
    password_file: str,
    security: str,
) -> None:
    options: dict[str, Any] = (
        {"tls_context": server_tls, "require_starttls": True, "auth_required": True}
        if security == "starttls"
        # The server takes no account of encryption that was there from the beginning.
        else {"ssl_context": server_tls, "auth_require_tls": False}
    )
    options["authenticator"] = check_password
    with running(mail_server, **options) as settings:
        wanted = change(
            settings,
            security=security,
            ca_file=str(certificates.authority),
            username=USER,
            password_file=password_file,
        )
        assert send(wanted) == ()
        Path(password_file).write_text("wrong")
        wrong = trouble(wanted)

    assert (mail_server.encrypted, mail_server.signed_in) == ([True], [True])
    assert len(mail_server.received) == 1
    assert (wrong.step, wrong.for_good) == ("sign-in", True)
    assert f"did not take the account {USER}: it answered 535" in str(wrong)
    assert "smtp.username and smtp.password_file" in str(wrong)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_an_unknown_authority_is_refused(
    mail_server: MailServer, server_tls: ssl.SSLContext, security: str
) -> None:
    name = "tls_context" if security == "starttls" else "ssl_context"
    with running(mail_server, **{name: server_tls}) as settings:
        found = trouble(change(settings, security=security))

    assert found.step == "TLS"
    assert "certificate" in str(found)
    assert "smtp.ca_file" in str(found)
    assert mail_server.received == []


def test_a_server_without_starttls_gets_nothing_in_clear_text(
    smtp: SmtpSettings, mail_server: MailServer
) -> None:
    found = trouble(change(smtp, security="starttls"))

    assert found.step == "TLS"
    assert "STARTTLS" in str(found)
    assert mail_server.received == []


def test_a_server_that_is_not_there_is_named(smtp: SmtpSettings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = trouble(change(smtp, port=port))

    assert found.step == "connect"
    assert f"Cannot reach the mail server 127.0.0.1:{port}: Connection refused" in str(found)


def test_a_server_that_never_answers_is_left_after_the_timeout(smtp: SmtpSettings) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        found = trouble(change(smtp, port=mute.getsockname()[1], timeout_seconds=1))

    assert found.step == "connect"
    assert "timed out" in str(found)


def test_a_server_that_hangs_up_is_a_trouble_of_its_step(smtp: SmtpSettings) -> None:
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.sendall(b"220 here\r\n")
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        found = trouble(change(smtp, port=rude.getsockname()[1]))
        thread.join()

    assert found.step == "connect"


def test_each_refused_step_is_named(smtp: SmtpSettings, mail_server: MailServer) -> None:
    mail_server.answers["MAIL"] = "553 not yours"
    sender = trouble(smtp)
    mail_server.answers = {"DATA": "554 looks like spam"}
    content = trouble(smtp)

    assert (sender.step, sender.for_good) == ("sender", True)
    assert "the sender exports@tailrace.example (smtp.sender): it answered 553 not yours" in str(
        sender
    )
    assert (content.step, content.for_good) == ("message", True)
    assert "554 looks like spam" in str(content)


def test_one_refused_address_keeps_no_other_from_the_mail(
    smtp: SmtpSettings, mail_server: MailServer
) -> None:
    mail_server.answers = {"gone@acme.example": "550 no such user", "full@acme.example": "452 full"}
    refused = send(smtp, "gone@acme.example", "ann@acme.example", "full@acme.example")

    assert [(one.address, one.answer, one.for_good) for one in refused] == [
        ("gone@acme.example", "550 no such user", True),
        ("full@acme.example", "452 full", False),
    ]
    assert [one.recipients for one in mail_server.received] == [("ann@acme.example",)]


@pytest.mark.parametrize("content", ["", "two\nlines\n", "x" * 2000])
def test_a_file_that_holds_no_password_is_named(
    smtp: SmtpSettings, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "password"
    path.write_text(content)
    found = trouble(change(smtp, username=USER, password_file=str(path)))

    assert found.step == "sign-in"
    assert f"{path} (smtp.password_file): it has to be one line" in str(found)


def test_a_missing_password_file_is_named(smtp: SmtpSettings, tmp_path: Path) -> None:
    found = trouble(change(smtp, username=USER, password_file=str(tmp_path / "none")))
    assert "No such file or directory" in str(found)


def test_a_file_without_certificates_is_named(smtp: SmtpSettings, tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    path.write_text("nothing")
    found = trouble(change(smtp, security="tls", ca_file=str(path)))
    assert (found.step, str(path) in str(found)) == ("TLS", True)
