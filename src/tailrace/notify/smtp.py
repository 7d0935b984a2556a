"""Give messages to the operator's mail server, and say at which step it did not take them.

Stdlib `smtplib`, one call at a time, because what is to be done differs from step to step.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec

from tailrace.errors import MailServerTrouble, MailStep
from tailrace.settings import SmtpSettings

# Of a server's answer, in a sentence that an operator reads.
_ANSWER_LENGTH_MAX = 300

# A password is one line; a file that is larger is another file.
_PASSWORD_BYTES_MAX = 1024


class Refused(msgspec.Struct, frozen=True):
    """An address that the server did not take; a refusal for good is not tried again."""

    address: str
    answer: str
    for_good: bool


class Session:
    """One connection to the server, signed in. For one thread."""

    def __init__(self, server: smtplib.SMTP, settings: SmtpSettings) -> None:
        self._server = server
        self._settings = settings

    def send(self, message: EmailMessage, recipients: Sequence[str]) -> tuple[Refused, ...]:
        """Send a message; on return the server has it for all addresses that are not returned.

        Raise `MailServerTrouble` if it took the message for none of them, for any other reason
        than that it refused each address.
        """
        server, where = self._server, _place(self._settings)
        sender = self._settings.sender
        refused: list[Refused] = []
        with _step("sender", where, f"the sender {sender} (smtp.sender)"):
            _expect(server.mail(sender))
        for address in recipients:
            with _step("recipient", where, f"the recipient {address}"):
                code, answer = server.rcpt(address)
            if code not in {250, 251}:
                refused.append(Refused(address, _answer(code, answer), 500 <= code < 600))
        if len(refused) == len(recipients):
            with _step("recipient", where, "the recipients"):
                server.rset()
            return tuple(refused)
        with _step("message", where, "the message"):
            wire = message.policy.clone(linesep="\r\n")
            _expect(server.data(message.as_bytes(policy=wire)))
        return tuple(refused)

    def reset(self) -> None:
        """Forget a message that was not taken, so that the next one can be sent."""
        with _step("message", _place(self._settings), "a new message"):
            self._server.rset()


@contextmanager
def open_session(settings: SmtpSettings) -> Iterator[Session]:
    """Connect, encrypt and sign in as the settings say; raise `MailServerTrouble` by the step."""
    where = _place(settings)
    with _step("connect", where, "the connection"):
        context = _tls(settings)
        server = _connect(settings, context)
    try:
        with _step("connect", where, "the connection"):
            server.ehlo_or_helo_if_needed()
        if settings.security == "starttls":
            with _step("TLS", where, "STARTTLS"):
                server.starttls(context=context)
                server.ehlo()
        if settings.username:
            with _step("sign-in", where, f"the account {settings.username}"):
                server.login(settings.username, _password(settings))
        yield Session(server, settings)
    finally:
        _leave(server)


def _connect(settings: SmtpSettings, context: ssl.SSLContext) -> smtplib.SMTP:
    # Without a name of its own the library asks the DNS for one, which may take long.
    name = socket.gethostname().encode("ascii", "ignore").decode() or "localhost"
    timeout = settings.timeout_seconds
    if settings.security == "tls":
        return smtplib.SMTP_SSL(
            settings.host, settings.port, name, timeout=timeout, context=context
        )
    return smtplib.SMTP(settings.host, settings.port, name, timeout=timeout)


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (OSError, smtplib.SMTPException):
        # Nothing depends on a polite end.
        server.close()


def _tls(settings: SmtpSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise MailServerTrouble(
                f"Cannot use the certificates in {settings.ca_file} (smtp.ca_file): {error}. "
                "Name a file of certificates in PEM form.",
                step="TLS",
            ) from error
    return context


def _password(settings: SmtpSettings) -> str:
    # Read at each sign-in: it may have been renewed.
    try:
        with Path(settings.password_file).open("rb") as file:
            text = file.read(_PASSWORD_BYTES_MAX + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise MailServerTrouble(
            f"Cannot read the password of the mail server from {settings.password_file} "
            f"(smtp.password_file): {why}.",
            step="sign-in",
        ) from error
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password or len(text) > _PASSWORD_BYTES_MAX:
        raise MailServerTrouble(
            f"Cannot use the password in {settings.password_file} (smtp.password_file): it has to "
            f"be one line of at most {_PASSWORD_BYTES_MAX} bytes.",
            step="sign-in",
        )
    return password


def _place(settings: SmtpSettings) -> str:
    return f"{settings.host}:{settings.port}"


def _expect(answered: tuple[int, bytes]) -> None:
    code, answer = answered
    if code != 250:
        raise smtplib.SMTPResponseException(code, answer)


_FIXES: dict[MailStep, str] = {
    "connect": "Check smtp.host and smtp.port, and that the machine may reach them.",
    "TLS": "Check smtp.security, and smtp.ca_file for a certificate of one's own authority.",
    "sign-in": "Check smtp.username and smtp.password_file.",
    "sender": "Set smtp.sender to an address that the server lets this account send from.",
    "recipient": "Check the address, and that the server relays to it for this account.",
    "message": "Ask whoever runs the mail server why.",
}


@contextmanager
def _step(step: MailStep, where: str, what: str) -> Iterator[None]:
    """Raise what goes wrong as `MailServerTrouble` of this step."""
    try:
        yield
    except smtplib.SMTPNotSupportedError as error:
        raise _trouble(step, where, what, str(error).rstrip("."), 0) from error
    except smtplib.SMTPResponseException as error:
        answer = _answer(error.smtp_code, error.smtp_error)
        raise _trouble(step, where, what, f"it answered {answer}", error.smtp_code) from error
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or str(error)
        raise _trouble("TLS", where, "the encryption", str(why), 0) from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _trouble(step, where, what, _one_line(str(why)), 0) from error


def _trouble(step: MailStep, where: str, what: str, why: str, code: int) -> MailServerTrouble:
    sentence = f"The mail server {where} did not take {what}: {why}. {_FIXES[step]}"
    if step == "connect":
        sentence = f"Cannot reach the mail server {where}: {why}. {_FIXES[step]}"
    return MailServerTrouble(sentence, step=step, for_good=500 <= code < 600)


def _answer(code: int, answer: Any) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    return f"{code} {_one_line(text)}".strip()


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.rstrip(".")[:_ANSWER_LENGTH_MAX]
