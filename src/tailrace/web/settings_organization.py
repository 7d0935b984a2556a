"""Settings: the organization's name, and what this installation is."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from tailrace import __version__
from tailrace.accounts.projects import organizations
from tailrace.accounts.renaming import rename_organization
from tailrace.accounts.roles import allowed
from tailrace.errors import BadRequest
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.settings_tabs import settings_tabs


def _organization(visit: Visit) -> Response:
    return _show(visit, _name(visit), Problems())


def _rename(visit: Visit) -> Response:
    problems, name = Problems(), visit.field("name")
    try:
        rename_organization(
            visit.site.engine,
            visit.by.organization,
            name,
            clock=visit.site.clock,
            by=visit.by.name,
        )
    except BadRequest as error:
        problems.add("name", error)
        return _show(visit, name, problems)
    return RedirectResponse("/settings/organization", 303)


def _show(visit: Visit, name: str, problems: Problems) -> Response:
    return page(
        visit,
        "settings_organization.html",
        title="Organization",
        status=422 if problems else 200,
        tabs_items=settings_tabs(visit),
        id=visit.by.organization,
        name=name,
        may_change=allowed(visit.by.member.role, "manage_organization"),
        problems=problems,
    )


def _name(visit: Visit) -> str:
    known = organizations(visit.site.engine)
    return next((one.name for one in known if one.id == visit.by.organization), "")


def _about(visit: Visit) -> Response:
    return page(
        visit,
        "settings_about.html",
        title="About",
        tabs_items=settings_tabs(visit),
        version=__version__,
        collect_url=visit.site.collect_url(),
        libraries="there" if visit.site.static.libraries else "missing: run make assets",
    )


PAGES = (
    Page("/settings/organization", _organization, "see"),
    Page("/settings/organization", _rename, "manage_organization", "POST"),
    Page("/settings/about", _about, "see"),
)
