"""A kept mail as the message that is sent; the same bytes at every try."""

from __future__ import annotations

from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

import msgspec

from tailrace.clock import to_datetime
from tailrace.errors import MailServerTrouble
from tailrace.ids import Ids
from tailrace.mailbox import is_mailbox
from tailrace.state.mails import Mail

SENDER_NAME = "tailrace"


# RFC 2047: a line with encoded words is no longer.
_LINE_WIDTH = 76

# A longer word of a subject is encoded: it may have no room beside the header's name.
_WORD_CHARACTERS_MAX = 60


class _Wire(EmailPolicy):
    """Mail as it is sent; a header's first line has text of it also where the rest is long."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        """Keep a subject as it was given: a name in it may look like an encoded word."""
        parsed = super().header_store_parse(name, value)
        return (name, value) if name == "Subject" else parsed

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Fold a header, with text of it on its first line.

        The standard library may put all of it onto the second, and programs show the blank before
        it. Between a subject's encoded words it loses or doubles blanks.
        """
        if name == "Subject":
            return f"{name}: {_subject(value, self.linesep)}{self.linesep}".encode()
        folded = super().fold_binary(name, value)
        return folded.replace(f"{name}:{self.linesep} ".encode(), f"{name}: ".encode(), 1)


def _subject(text: str, linesep: str) -> str:
    words = text.split()
    is_plain = (
        text.isascii()
        and "=?" not in text
        and len(max(words, key=len, default="")) <= _WORD_CHARACTERS_MAX
    )
    charset = "us-ascii" if is_plain else "utf-8"
    header = Header(text, charset, maxlinelen=_LINE_WIDTH, header_name="Subject")
    return header.encode(splitchars=" ", linesep=linesep)


# Seven bits are what every server takes.
_POLICY = _Wire(linesep="\r\n", cte_type="7bit")


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """What a message is made of; the same makes the same bytes."""

    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    made_micros: int
    message_id: str
    thread_id: str | None = None


def unnamed(address: str) -> MailServerTrouble:
    """Return the error of an address that no message can name, as an earlier release took some."""
    return MailServerTrouble(
        f"Cannot write a mail to {address}: no mail can name this address. Remove the person, and "
        "add them with another one.",
        step="recipient",
        for_good=True,
    )


def outgoing(mail: Mail) -> Outgoing:
    """Return a kept mail as it goes out, to all of its addresses that a message can name."""
    return Outgoing(
        to=tuple(one.address for one in mail.recipients if is_mailbox(one.address)),
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        made_micros=mail.made_micros,
        message_id=mail.message_id,
        thread_id=mail.thread_id,
    )


def message_id(ids: Ids, sender: str) -> str:
    """Return an ID that no other message has."""
    return f"<tailrace.{ids.random_bytes(16).hex()}@{sender.rpartition('@')[2]}>"


def message_of(out: Outgoing, sender: str) -> EmailMessage:
    """Return the message with its text and HTML.

    Its ID never changes, so that mail programs show once what had to be sent twice. Mails of one
    outage answer its first one, and so stand together. `Auto-Submitted` (RFC 3834) keeps
    out-of-office programs from answering. Raise `MailServerTrouble` for an address that no message
    can name.
    """
    for address in out.to:
        if not is_mailbox(address):
            raise unnamed(address)
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(SENDER_NAME, addr_spec=sender)
    message["To"] = tuple(Address(addr_spec=address) for address in out.to)
    message["Subject"] = out.subject
    message["Date"] = format_datetime(to_datetime(out.made_micros))
    message["Message-ID"] = out.message_id
    if out.thread_id is not None and out.thread_id != out.message_id:
        message["In-Reply-To"] = out.thread_id
        message["References"] = out.thread_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(out.text)
    message.add_alternative(out.html, subtype="html")
    message.set_boundary("tailrace-" + out.message_id.strip("<>").partition("@")[0][-32:])
    return message
