"""A kept mail as the message that is sent; the same bytes at every try."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from tailrace.clock import to_datetime
from tailrace.state.mails import Mail

SENDER_NAME = "tailrace"

# Seven bits are what every server takes.
_POLICY = SMTP.clone(cte_type="7bit")


def message_of(mail: Mail, sender: str) -> EmailMessage:
    """Return the message with its text and HTML.

    Its ID never changes, so that mail programs show once what had to be sent twice. Mails of one
    outage answer its first one, and so stand together. `Auto-Submitted` (RFC 3834) keeps
    out-of-office programs from answering.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(SENDER_NAME, addr_spec=sender)
    message["To"] = tuple(Address(addr_spec=one.address) for one in mail.recipients)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(to_datetime(mail.made_micros))
    message["Message-ID"] = mail.message_id
    if mail.thread_id is not None and mail.thread_id != mail.message_id:
        message["In-Reply-To"] = mail.thread_id
        message["References"] = mail.thread_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    message.set_boundary("tailrace-" + mail.message_id.strip("<>").partition("@")[0][-32:])
    return message
