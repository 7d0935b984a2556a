"""`/`: where a visit begins, and which organization it shows."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from tailrace.accounts.sessions import show_organization
from tailrace.errors import BadRequest
from tailrace.web.cookies import SESSION, read_cookie
from tailrace.web.navigation import home
from tailrace.web.page import Page, Visit


def _home(visit: Visit) -> Response:
    return RedirectResponse(home(visit.site, visit.request, visit.by.organization), 303)


def _show_organization(visit: Visit) -> Response:
    number = visit.number_typed("organization")
    if number is None:
        asked = visit.field("organization")[:20]
        raise BadRequest(f"There is no organization {asked!r}. Choose one of yours.")
    show_organization(
        visit.site.engine,
        read_cookie(visit.request, SESSION),
        number,
        clock=visit.site.machine_clock,
    )
    return RedirectResponse(home(visit.site, visit.request, number), 303)


PAGES = (
    Page("/", _home, "signed in"),
    Page("/organization", _show_organization, "signed in", "POST"),
)
