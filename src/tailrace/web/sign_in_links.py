"""A sign-in link as the admin who makes it sees it, once; and the mail of it, where one can go."""

from __future__ import annotations

import msgspec

from tailrace.accounts.addresses import folded
from tailrace.accounts.projects import organizations
from tailrace.accounts.sign_in_links import join_path, make_link
from tailrace.errors import MailServerTrouble
from tailrace.notify.amounts import moment
from tailrace.notify.invitation import Invitation, send_invitation
from tailrace.web.cookies import is_behind_tls
from tailrace.web.page import Visit

NO_SERVER = "Copy it and hand it over: it is shown once."
NO_ADDRESS = (
    "It was not mailed: whoever runs tailrace has to set public_url, the address of these pages. "
    "Copy it and hand it over: it is shown once."
)
TOO_MANY = "It was not mailed: too many were of late. Copy it and hand it over: it is shown once."


class MadeLink(msgspec.Struct, frozen=True):
    """A link that was just made; `mailed` says what became of its mail, and what to do."""

    email: str
    url: str
    ends: str
    mailed: str

    def __repr__(self) -> str:
        return f"MadeLink(email={self.email!r}, url=...)"


def made_link(visit: Visit, email: str) -> MadeLink:
    """Make a link for a person, and mail it; raise `BadRequest` if none may be made for them."""
    site, by = visit.site, visit.by
    made = make_link(
        site.engine,
        by.organization,
        email,
        ids=site.ids,
        clock=site.clock,
        machine=site.machine_clock,
        by=by.name,
    )
    path, ends = join_path(made.token), moment(made.ends_micros)
    public_url = site.settings.public_url.rstrip("/")
    return MadeLink(
        email=made.email,
        url=(public_url or _asked_at(visit)) + path,
        ends=ends,
        mailed=_mail(visit, made.email, public_url and public_url + path, ends),
    )


def _mail(visit: Visit, email: str, url: str, ends: str) -> str:
    """Mail a link, and return what became of that. `url` is empty without a public address."""
    site, by = visit.site, visit.by
    smtp = site.settings.smtp
    if not smtp.host:
        return NO_SERVER
    if not url:
        # What the request came by is the browser's word: good enough for its own page only.
        return NO_ADDRESS
    # Nobody's mailbox is filled from here: counted by organization, and by who gets the mails.
    if site.attempts.wait_seconds(f"mails of {by.organization}", f"mail to {folded(email)}"):
        return TOO_MANY
    name = next(one.name for one in organizations(site.engine) if one.id == by.organization)
    invitation = Invitation(email, name, url, ends, by.name)
    try:
        send_invitation(smtp, invitation, clock=site.clock, ids=site.ids)
    except MailServerTrouble as trouble:
        return f"It was not mailed. {trouble} Copy it and hand it over: it is shown once."
    return f"The mail server took a mail with it to {email}. Here it is shown once."


def _asked_at(visit: Visit) -> str:
    request = visit.request
    scheme = "https" if is_behind_tls(request) else "http"
    return f"{scheme}://{request.headers.get('host', request.url.netloc)}"
