"""A sign-in link as a mail, as *Settings → People* sends it to whom the link is for.

Nothing of it is kept: kept mails are read by managers, who would get into an admin's account.
"""

from __future__ import annotations

import msgspec

from tailrace.clock import Clock
from tailrace.errors import MailServerTrouble
from tailrace.ids import Ids
from tailrace.notify.letter import Code, Letter, Paragraph, Small, as_html, as_text, subject_line
from tailrace.notify.message import Outgoing, message_id, message_of
from tailrace.notify.smtp import open_session
from tailrace.settings import SmtpSettings


class Invitation(msgspec.Struct, frozen=True):
    """Whom a link is for, in which organization; `ends` is in words."""

    address: str
    organization: str
    url: str
    ends: str
    made_by: str

    def __repr__(self) -> str:
        return f"Invitation(address={self.address!r}, url=...)"


def send_invitation(
    settings: SmtpSettings, invitation: Invitation, *, clock: Clock, ids: Ids
) -> None:
    """Send a link; on return the server has taken the mail.

    Raise `MailServerTrouble` that names the step which failed; it is not tried again.
    """
    letter = _letter(invitation)
    message = message_of(
        Outgoing(
            to=(invitation.address,),
            subject=subject_line(letter.subject),
            text=as_text(letter),
            html=as_html(letter),
            made_micros=clock.now_micros(),
            message_id=message_id(ids, settings.sender),
        ),
        settings.sender,
    )
    with open_session(settings) as session:
        refused = session.send(message, [invitation.address])
    if refused:
        raise MailServerTrouble(
            f"The mail server {settings.host}:{settings.port} did not take the recipient "
            f"{invitation.address}: it answered {refused[0].answer}. Check the address.",
            step="recipient",
            for_good=refused[0].for_good,
        )


def _letter(one: Invitation) -> Letter:
    return Letter(
        f"Choose your password for tailrace ({one.organization})",
        (
            Paragraph(
                f"{one.made_by} lets you choose a password for tailrace, which exports events of "
                f"{one.organization}. Open this address in a browser:"
            ),
            Code(one.url),
            Paragraph(
                f"It works once, until {one.ends}. You sign in as {one.address}. A password that "
                "you have holds until you choose another."
            ),
            Paragraph("Whoever has the address can do so in your place: pass it on to nobody."),
            Small(
                f"Sent to you alone, because an admin of {one.organization} asked for it. If you "
                "do not know them, delete this mail."
            ),
        ),
    )
