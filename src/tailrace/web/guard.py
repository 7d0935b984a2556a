"""The guard: the one place in which it is decided who gets into which page.

`guarded` makes a route of a `Page`. Another organization's project is a 404, as if it
did not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tailrace.accounts.projects import find_project
from tailrace.accounts.roles import Action, require_allowed
from tailrace.accounts.sessions import Session, find_session
from tailrace.errors import BadRequest
from tailrace.web.cookies import SESSION, read_cookie
from tailrace.web.forms import read_form, require_own_form
from tailrace.web.page import NotThere, Page, Visit, Visitor
from tailrace.web.site import Site
from tailrace.web.trouble import signed_out_page, trouble_page


def guarded(page: Page) -> Route:
    """Return the route: it lets in whoever the page is for, and nobody else."""

    async def endpoint(request: Request) -> Response:
        site: Site = request.app.state.site
        form: Mapping[str, tuple[str, ...]] = {}
        try:
            if page.method == "POST":
                form = await read_form(request)
            return await run_in_threadpool(_answer, page, site, request, form)
        except Exception as error:
            # The outermost place of a page: whatever it is, somebody waits for words.
            return await run_in_threadpool(trouble_page, request, error)

    return Route(page.path, endpoint, methods=[page.method], name=f"{page.method} {page.path}")


def _answer(
    page: Page, site: Site, request: Request, form: Mapping[str, tuple[str, ...]]
) -> Response:
    token = read_cookie(request, SESSION)
    session = None
    if token:
        session = find_session(site.engine, token, clock=site.machine_clock)
    if session is None and page.needs != "anybody":
        return _let_sign_in(page, site, request)
    if page.method == "POST":
        require_own_form(request, form, site.settings.public_url)
    visitor = None if session is None else _visitor(page, site, request, session)
    return page.show(Visit(site, request, form, visitor))


def _visitor(page: Page, site: Site, request: Request, session: Session) -> Visitor:
    number = request.path_params.get("p")
    if number is None:
        visitor = Visitor(session, session.shown)
    else:
        visitor = _in_project(site, session, int(number))
    if page.needs not in ("anybody", "signed in"):
        require_allowed(visitor.member.role, cast(Action, page.needs))
    return visitor


def _in_project(site: Site, session: Session, number: int) -> Visitor:
    """Return the person as a member of the project's organization; raise `NotThere`."""
    for member in session.memberships:
        try:
            project = find_project(site.engine, number, within=member.organization)
        except BadRequest:
            continue
        return Visitor(session, member, project)
    raise NotThere(f"There is no project {number}, or you are not in its organization.")


def _let_sign_in(page: Page, site: Site, request: Request) -> Response:
    if request.headers.get("HX-Request") and page.method == "GET":
        # A part of a page that somebody has open: the page stays, and its strip says why.
        return Response(status_code=401)
    if page.method == "POST":
        return signed_out_page(site, request)
    target = request.url.path
    if request.url.query:
        target += f"?{request.url.query}"
    return RedirectResponse(f"/signin?next={quote(target, safe='')}", 303)
