"""Settings: who belongs to the organization, in which role, and one's own password."""

from __future__ import annotations

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.addresses import folded
from tailrace.accounts.membership import Person
from tailrace.accounts.people import (
    NewPerson,
    account_with_password,
    add_person,
    change_password,
    change_role,
    find_person,
    people,
    remove_person,
)
from tailrace.accounts.roles import ROLES, allowed, checked_role
from tailrace.accounts.sessions import end_sessions, sessions_of, sign_out_elsewhere
from tailrace.accounts.sign_in_links import links_that_hold
from tailrace.clock import to_datetime
from tailrace.errors import BadRequest
from tailrace.notify.amounts import moment
from tailrace.web.cookies import SESSION, address_of, read_cookie
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.settings_tabs import settings_tabs
from tailrace.web.sign_in_links import MadeLink, made_link

PEOPLE = "/settings/people"
# What each role may do, as the table of roles says.
MEANING = {
    "viewer": "sees exports and their causes",
    "member": "sees API keys as well",
    "manager": "runs destinations, exports, projects and keys",
    "admin": "everything, and who belongs here",
}


class PersonRow(msgspec.Struct, frozen=True):
    """One person in words. Whether others can sign in is not told: it is nobody's business."""

    email: str
    name: str
    role: str
    since: str
    is_oneself: bool
    link_ends: str


def _list(visit: Visit) -> Response:
    return _show(visit, Problems())


def _add(visit: Visit) -> Response:
    site, by, problems = visit.site, visit.by, Problems()
    try:
        added = add_person(
            site.engine,
            by.organization,
            NewPerson(
                visit.field("email").strip(),
                checked_role(visit.field("role")),
                visit.field("name").strip() or None,
            ),
            passwords=site.passwords,
            clock=site.clock,
            by=by.name,
        )
    except BadRequest as error:
        problems.add("email", error)
        return _show(visit, problems)
    blank = msgspec.structs.replace(visit, form={})
    try:
        made = made_link(visit, added.email)
    except BadRequest:
        # Not why: whether they have a password, and where they are besides, is not told.
        return _show(blank, problems, added=added.email)
    return _show(blank, problems, made=made)


def _link(visit: Visit) -> Response:
    """Make a link for somebody who is here already, such as one who forgot the password."""
    found, problems = _person(visit), Problems()
    try:
        made = made_link(visit, found.email)
    except BadRequest as error:
        problems.add("people", error)
        return _show(visit, problems)
    return _show(visit, problems, made=made)


def _end_sessions(visit: Visit) -> Response:
    site, found, problems = visit.site, _person(visit), Problems()
    try:
        end_sessions(
            site.engine, visit.by.organization, found.email, clock=site.clock, by=visit.by.name
        )
    except BadRequest as error:
        problems.add("people", error)
        return _show(visit, problems)
    return RedirectResponse(PEOPLE, 303)


def _sign_out_elsewhere(visit: Visit) -> Response:
    site, by = visit.site, visit.by
    token = read_cookie(visit.request, SESSION)
    sign_out_elsewhere(site.engine, token, by.session.person, clock=site.clock, by=by.name)
    return RedirectResponse(PEOPLE, 303)


def _person(visit: Visit) -> Person:
    """Return the person that a form names; another organization's is one that there is not."""
    try:
        return find_person(visit.site.engine, visit.by.organization, visit.field("email"))
    except BadRequest as error:
        raise NotThere(str(error)) from error


def _role(visit: Visit) -> Response:
    change_role(
        visit.site.engine,
        visit.by.organization,
        visit.field("email"),
        checked_role(visit.field("role")),
        clock=visit.site.clock,
        by=visit.by.name,
    )
    return RedirectResponse(PEOPLE, 303)


def _remove(visit: Visit) -> Response:
    remove_person(
        visit.site.engine,
        visit.by.organization,
        visit.field("email"),
        clock=visit.site.clock,
        by=visit.by.name,
    )
    return RedirectResponse(PEOPLE, 303)


def _password(visit: Visit) -> Response:
    """Change one's own password; sessions that were opened with the old one end with it."""
    site, email, problems = visit.site, visit.by.member.email, Problems()
    account = None
    # Guessing it here is as limited as at the sign-in.
    wait = site.attempts.wait_seconds(address_of(visit.request), folded(email))
    if wait:
        problems.add("current", BadRequest(f"That was tried too often. Wait {wait} seconds."))
    else:
        account = account_with_password(
            site.engine, email, visit.field("current"), passwords=site.passwords
        )
        if account is None:
            problems.add("current", BadRequest("This is not your present password."))
    if visit.field("new") != visit.field("again"):
        problems.add("again", BadRequest("The two passwords differ. Type it again."))
    if account is not None and not problems:
        try:
            change_password(
                site.engine,
                account,
                visit.field("new"),
                passwords=site.passwords,
                clock=site.clock,
                by=visit.by.name,
            )
        except BadRequest as error:
            problems.add("new", error)
    if problems:
        return _show(visit, problems)
    site.attempts.succeeded(folded(email))
    return RedirectResponse("/signin", 303)


def _show(
    visit: Visit, problems: Problems, *, made: MadeLink | None = None, added: str = ""
) -> Response:
    site, by = visit.site, visit.by
    may_change = allowed(by.member.role, "manage_people")
    links = {}
    if may_change:
        links = links_that_hold(site.engine, by.organization, machine=site.machine_clock)
    return page(
        visit,
        "settings_people.html",
        title="People",
        status=422 if problems else 200,
        tabs_items=settings_tabs(visit),
        shown=tuple(
            _row(one, by.member.email, links.get(one.email))
            for one in people(site.engine, by.organization)
        ),
        roles=tuple((one, f"{one}: {MEANING[one]}") for one in ROLES),
        names=tuple((one, one) for one in ROLES),
        # A form of the list has this field too.
        email="" if made or "people" in problems else visit.field("email"),
        name=visit.field("name"),
        role=visit.field("role") or "member",
        problems=problems,
        may_change=may_change,
        made=made,
        added=added,
        elsewhere=_elsewhere(
            sessions_of(site.engine, by.session.person, clock=site.machine_clock) - 1
        ),
    )


def _row(one: Person, oneself: str, link_ends_micros: int | None) -> PersonRow:
    return PersonRow(
        email=one.email,
        name=one.name or "",
        role=one.role,
        since=f"{to_datetime(one.created_micros):%Y-%m-%d}",
        is_oneself=one.email == oneself,
        link_ends="" if link_ends_micros is None else moment(link_ends_micros),
    )


def _elsewhere(browsers: int) -> str:
    if browsers < 1:
        return "You are signed in in this browser alone."
    return f"You are signed in in {browsers} other browser{'s'[: browsers > 1]}."


PAGES = (
    Page(PEOPLE, _list, "see"),
    Page(PEOPLE, _add, "manage_people", "POST"),
    Page(f"{PEOPLE}/role", _role, "manage_people", "POST"),
    Page(f"{PEOPLE}/remove", _remove, "manage_people", "POST"),
    Page(f"{PEOPLE}/link", _link, "manage_people", "POST"),
    Page(f"{PEOPLE}/sessions", _end_sessions, "manage_people", "POST"),
    Page(f"{PEOPLE}/elsewhere", _sign_out_elsewhere, "signed in", "POST"),
    Page(f"{PEOPLE}/password", _password, "signed in", "POST"),
)
