"""Settings: whether mail is sent, a message to try it, and every mail that was made."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from tailrace.clock import to_datetime
from tailrace.errors import BadRequest, TailraceError
from tailrace.notify.trial import send_trial
from tailrace.state.mails import Mail, Mails
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.settings_tabs import settings_tabs

MAIL = "/settings/mail"
SHOWN_MAX = 100


class MailRow(msgspec.Struct, frozen=True):
    """One mail of the list, in words."""

    href: str
    made: str
    subject: str
    state: str
    to: str


class MailView(msgspec.Struct, frozen=True):
    """One mail: what it says, and what became of it for each address."""

    subject: str
    made: str
    recipients: tuple[tuple[str, str], ...]
    text: str


def mail_rows(found: list[Mail]) -> tuple[MailRow, ...]:
    """Return mails in words, in their order."""
    return tuple(
        MailRow(
            href=f"{MAIL}/{one.id}",
            made=_time(one.made_micros),
            subject=one.subject,
            state=one.state,
            to=", ".join(recipient.address for recipient in one.recipients),
        )
        for one in found
    )


def mail_view(found: Mail) -> MailView:
    """Return a mail as it is read. Its text is shown, never its HTML."""
    return MailView(
        subject=found.subject,
        made=_time(found.made_micros),
        recipients=tuple(
            (one.address, one.state if one.error is None else f"{one.state}: {one.error}")
            for one in found.recipients
        ),
        text=found.text,
    )


def _list(visit: Visit) -> Response:
    return _show(visit, Problems())


def _try(visit: Visit) -> Response:
    """Send a message to oneself."""
    problems, sent = Problems(), ""
    address = visit.by.member.email
    try:
        site = visit.site
        send_trial(site.settings.smtp, address, clock=site.clock, ids=site.ids)
        sent = f"The mail server took a message to {address}."
    except TailraceError as error:
        problems.add("trial", BadRequest(str(error)))
    return _show(visit, problems, sent=sent)


def _one(visit: Visit) -> Response:
    try:
        found = _mails(visit).get(visit.number("n"))
    except BadRequest as error:
        raise NotThere(str(error)) from error
    return page(
        visit,
        "settings_one_mail.html",
        title=found.subject,
        tabs_items=settings_tabs(visit),
        mail=mail_view(found),
        back=MAIL,
    )


def _show(visit: Visit, problems: Problems, *, sent: str = "") -> Response:
    smtp = visit.site.settings.smtp
    return page(
        visit,
        "settings_mail.html",
        title="Mail",
        status=422 if problems else 200,
        tabs_items=settings_tabs(visit),
        server=f"{smtp.host}:{smtp.port}" if smtp.host else "",
        address=visit.by.member.email,
        shown=mail_rows(_mails(visit).newest(limit=SHOWN_MAX)),
        problems=problems,
        sent=sent,
    )


def _mails(visit: Visit) -> Mails:
    return Mails(visit.site.engine, visit.site.clock, within=visit.by.organization)


def _time(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%d %H:%M}"


PAGES = (
    Page(MAIL, _list, "see_mails"),
    Page(MAIL, _try, "see_mails", "POST"),
    Page(f"{MAIL}/{{n:int}}", _one, "see_mails"),
)
