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
    change_role,
    people,
    remove_person,
    set_password,
)
from tailrace.accounts.roles import ROLES, allowed, checked_role
from tailrace.clock import to_datetime
from tailrace.errors import BadRequest
from tailrace.web.cookies import address_of
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.settings_tabs import settings_tabs

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


def _list(visit: Visit) -> Response:
    return _show(visit, Problems())


def _add(visit: Visit) -> Response:
    site, by, problems = visit.site, visit.by, Problems()
    try:
        add_person(
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
    return RedirectResponse(PEOPLE, 303)


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
    # Guessing it here is as limited as at the sign-in.
    wait = site.attempts.wait_seconds(address_of(visit.request), folded(email))
    if wait:
        problems.add("current", BadRequest(f"That was tried too often. Wait {wait} seconds."))
    elif not account_with_password(
        site.engine, email, visit.field("current"), passwords=site.passwords
    ):
        problems.add("current", BadRequest("This is not your present password."))
    if visit.field("new") != visit.field("again"):
        problems.add("again", BadRequest("The two passwords differ. Type it again."))
    if not problems:
        try:
            set_password(
                site.engine,
                email,
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


def _show(visit: Visit, problems: Problems) -> Response:
    by = visit.by
    return page(
        visit,
        "settings_people.html",
        title="People",
        status=422 if problems else 200,
        tabs_items=settings_tabs(visit),
        shown=tuple(
            _row(one, by.member.email) for one in people(visit.site.engine, by.organization)
        ),
        roles=tuple((one, f"{one}: {MEANING[one]}") for one in ROLES),
        names=tuple((one, one) for one in ROLES),
        email=visit.field("email"),
        name=visit.field("name"),
        role=visit.field("role") or "member",
        problems=problems,
        may_change=allowed(by.member.role, "manage_people"),
    )


def _row(one: Person, oneself: str) -> PersonRow:
    return PersonRow(
        email=one.email,
        name=one.name or "",
        role=one.role,
        since=f"{to_datetime(one.created_micros):%Y-%m-%d}",
        is_oneself=one.email == oneself,
    )


PAGES = (
    Page(PEOPLE, _list, "see"),
    Page(PEOPLE, _add, "manage_people", "POST"),
    Page(f"{PEOPLE}/role", _role, "manage_people", "POST"),
    Page(f"{PEOPLE}/remove", _remove, "manage_people", "POST"),
    Page(f"{PEOPLE}/password", _password, "signed in", "POST"),
)
