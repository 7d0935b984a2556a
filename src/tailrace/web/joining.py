"""Joining: whoever has a sign-in link chooses a password, and is signed in with it.

Links that do not hold, for whatever reason, get one and the same page.
"""

from __future__ import annotations

from starlette.responses import Response

from tailrace.accounts.passwords import PASSWORD_CHARACTERS_MIN, checked_password
from tailrace.accounts.sign_in_links import Invited, find_link, join_path, use_link
from tailrace.errors import BadRequest, NotAllowed
from tailrace.web.cookies import address_of
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.signing_in import signed_in, too_often


def _form(visit: Visit) -> Response:
    try:
        found = find_link(visit.site.engine, _token(visit), machine=visit.site.machine_clock)
    except NotAllowed as error:
        return _void(visit, error)
    return _show(visit, found)


def _join(visit: Visit) -> Response:
    site, token = visit.site, _token(visit)
    wait = site.attempts.wait_seconds(address_of(visit.request), f"link {token}")
    try:
        found = find_link(site.engine, token, machine=site.machine_clock)
        if wait:
            shown = _show(visit, found, status=429, error=too_often(wait))
            shown.headers["Retry-After"] = str(wait)
            return shown
        problems = _problems(visit, found)
        if problems:
            return _show(visit, found, status=422, problems=problems)
        account = use_link(
            site.engine,
            token,
            visit.field("password"),
            passwords=site.passwords,
            clock=site.clock,
            machine=site.machine_clock,
        )
    except NotAllowed as error:
        return _void(visit, error)
    return signed_in(visit, account, "/")


def _problems(visit: Visit, found: Invited) -> Problems:
    problems, password = Problems(), visit.field("password")
    problems.check("password", lambda: checked_password(password, found.email))
    if visit.field("again") != password and not problems:
        problems.add("again", BadRequest("The two passwords differ. Type it again."))
    return problems


def _show(
    visit: Visit,
    found: Invited,
    *,
    status: int = 200,
    problems: Problems | None = None,
    error: str = "",
) -> Response:
    signed_in_as = "" if visit.visitor is None else visit.visitor.member.email
    return page(
        visit,
        "join.html",
        title="Choose your password",
        status=status,
        shown_at=join_path(_token(visit)),
        action=join_path(_token(visit)),
        email=found.email,
        organizations=", ".join(found.organizations),
        signed_in_as=signed_in_as,
        password_characters_min=PASSWORD_CHARACTERS_MIN,
        problems=problems or Problems(),
        error=error,
    )


def _void(visit: Visit, error: NotAllowed) -> Response:
    return page(
        visit,
        "trouble.html",
        title="Ask for a new link",
        status=404,
        sentence=str(error),
        link="/signin",
        link_text="Sign in",
    )


def _token(visit: Visit) -> str:
    return str(visit.request.path_params["token"])


PAGES = (
    Page("/join/{token}", _form, "anybody"),
    Page("/join/{token}", _join, "anybody", "POST"),
)
