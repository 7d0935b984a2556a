"""The first run: from the link in the terminal to the first event that is seen to arrive."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from tailrace.accounts.addresses import checked_address
from tailrace.accounts.first_run import (
    FirstAdmin,
    FirstRun,
    finish_first_run,
    first_run,
    first_run_path,
)
from tailrace.accounts.passwords import PASSWORD_CHARACTERS_MIN, checked_password
from tailrace.accounts.sessions import sign_in
from tailrace.errors import BadRequest
from tailrace.names import checked_name
from tailrace.web.arrivals import Arrivals, arrivals
from tailrace.web.cookies import set_session
from tailrace.web.navigation import home
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import fragment, page
from tailrace.web.snippets import curl

UNCHANGED = 204


def _form(visit: Visit) -> Response:
    token = visit.request.query_params.get("token", "")
    found = first_run(visit.site.engine, token)
    return _show(visit, token, found.email, found, Problems())


def _finish(visit: Visit) -> Response:
    site, token = visit.site, visit.field("token")
    found = first_run(site.engine, token)
    email, password = visit.field("email").strip(), visit.field("password")
    admin = FirstAdmin(email, password, visit.field("organization"), visit.field("project"))
    problems = _problems(admin, visit.field("again"))
    if not problems:
        try:
            account = finish_first_run(
                site.engine, token, admin, passwords=site.passwords, clock=site.clock
            )
        except BadRequest as error:
            problems.add("email", error)
        else:
            return _signed_in(visit, sign_in(
                site.engine, account, ids=site.ids, clock=site.machine_clock
            ), found.project)  # fmt: skip
    named = FirstRun(
        found.organization, admin.organization_name, found.project, admin.project_name, email
    )
    return _show(visit, token, email, named, problems)


def _problems(admin: FirstAdmin, again: str) -> Problems:
    problems = Problems()
    problems.check("email", lambda: checked_address(admin.email))
    problems.check("password", lambda: checked_password(admin.password, admin.email))
    problems.check("organization", lambda: checked_name(admin.organization_name, "organization"))
    problems.check("project", lambda: checked_name(admin.project_name, "project"))
    if admin.password != again and "password" not in problems:
        problems.add("again", BadRequest("The two passwords differ. Type it again."))
    return problems


def _signed_in(visit: Visit, token: str, project: int) -> Response:
    response = RedirectResponse(f"/p/{project}/first-event", 303)
    set_session(response, visit.request, token)
    return response


def _show(visit: Visit, token: str, email: str, named: FirstRun, problems: Problems) -> Response:
    return page(
        visit,
        "first_run.html",
        title="Set up tailrace",
        status=422 if problems else 200,
        shown_at=first_run_path(token),
        token=token,
        email=email,
        organization=named.organization_name,
        project=named.project_name,
        password_characters_min=PASSWORD_CHARACTERS_MIN,
        problems=problems,
    )


def _first_event(visit: Visit) -> Response:
    project = visit.by.in_project
    key = project.api_keys[0] if project.api_keys else ""
    return page(
        visit,
        "first_event.html",
        title="Send the first event",
        project=project,
        key=key,
        collect_url=visit.site.collect_url(),
        snippet=curl(visit.site.collect_url(), key),
        arrivals=_arrivals(visit),
        onward=home(visit.site, visit.request, project.organization, project.id),
    )


def _first_event_live(visit: Visit) -> Response:
    found = _arrivals(visit)
    if visit.request.query_params.get("since") == found.since:
        return Response(status_code=UNCHANGED)
    project = visit.by.in_project
    onward = home(visit.site, visit.request, project.organization, project.id)
    return fragment(visit, "first_event_live.html", arrivals=found, onward=onward)


def _arrivals(visit: Visit) -> Arrivals:
    return arrivals(visit.site.recent.of(visit.by.in_project.id))


PAGES = (
    Page("/first-run", _form, "anybody"),
    Page("/first-run", _finish, "anybody", "POST"),
    Page("/p/{p:int}/first-event", _first_event, "see_keys"),
    Page("/p/{p:int}/first-event/live", _first_event_live, "see_keys"),
)
