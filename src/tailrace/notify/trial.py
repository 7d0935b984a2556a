"""A message that tries the mail settings, as `tailrace mail test` and the settings page send it."""

from __future__ import annotations

from tailrace.accounts.addresses import checked_address
from tailrace.clock import Clock
from tailrace.errors import BadSetting, MailServerTrouble
from tailrace.ids import Ids
from tailrace.notify.letter import Facts, Letter, Paragraph, as_html, as_text
from tailrace.notify.message import Outgoing, message_id, message_of
from tailrace.notify.smtp import open_session
from tailrace.settings import SmtpSettings


def send_trial(settings: SmtpSettings, address: str, *, clock: Clock, ids: Ids) -> None:
    """Send a message to an address; on return the server has taken it.

    Nothing is kept of it. Raise `BadRequest` for what is no address, `BadSetting` without a mail
    server, and `MailServerTrouble` that names the step which failed.
    """
    address = checked_address(address)
    if not settings.host:
        raise BadSetting(
            "There is no mail server to try: set smtp.host, and smtp.port, smtp.security, "
            "smtp.username and smtp.password_file as it needs them."
        )
    message = message_of(_trial(settings, address, clock, ids), settings.sender)
    with open_session(settings) as session:
        refused = session.send(message, [address])
    if refused:
        raise MailServerTrouble(
            f"The mail server {settings.host}:{settings.port} did not take the recipient "
            f"{address}: it answered {refused[0].answer}. Check the address, and that the server "
            "relays to it for this account.",
            step="recipient",
            for_good=refused[0].for_good,
        )


def _trial(settings: SmtpSettings, address: str, clock: Clock, ids: Ids) -> Outgoing:
    letter = Letter(
        "tailrace can send mail",
        (
            Paragraph(
                "This message was sent to try tailrace's mail settings. That it arrived means that "
                "they work."
            ),
            Facts(
                (
                    ("Mail server", f"{settings.host}:{settings.port}"),
                    ("Encryption", settings.security),
                    ("Signed in as", settings.username or "nobody"),
                )
            ),
        ),
    )
    return Outgoing(
        to=(address,),
        subject=letter.subject,
        text=as_text(letter),
        html=as_html(letter),
        made_micros=clock.now_micros(),
        message_id=message_id(ids, settings.sender),
    )
