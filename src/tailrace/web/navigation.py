"""What the head of each page leads to: the areas, the projects, the organizations."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from tailrace.accounts.projects import Project, organizations, projects
from tailrace.accounts.roles import Action, Role, allowed
from tailrace.web.page import Visitor
from tailrace.web.site import Site

# Areas of a project, then of the organization: a name, its address, and who may see it. Only those
# that have a page are shown, and the first of them, which everybody sees, is what `/` leads to.
Area = tuple[str, str, Action]
PROJECT_AREAS: tuple[Area, ...] = (
    ("Destinations", "/p/{p}/destinations", "see"),
    ("Catalog", "/p/{p}/catalog/destinations", "see"),
    ("Events", "/p/{p}/events", "see_events"),
)
AREAS: tuple[Area, ...] = (("Settings", "/settings/organization", "see"),)
# A page of an area whose address does not begin as the area's own.
_WITHIN = {"/catalog/sources": "/catalog/destinations"}


class Link(msgspec.Struct, frozen=True):
    """A link, and whether it leads to where one is."""

    name: str
    href: str
    current: bool


class Choice(msgspec.Struct, frozen=True):
    """One of several projects or organizations; an organization has no address of its own."""

    id: int
    name: str
    current: bool
    href: str = ""


class Navigation(msgspec.Struct, frozen=True):
    """The head of a page for whoever is signed in."""

    areas: tuple[Link, ...]
    organization: str
    organizations: tuple[Choice, ...]
    project: str
    projects: tuple[Choice, ...]
    email: str
    role: Role


def navigation(site: Site, request: Request, visitor: Visitor) -> Navigation:
    """Return the head of a page for this visitor."""
    mine = {one.organization for one in visitor.session.memberships}
    theirs = [one for one in organizations(site.engine) if one.id in mine]
    shown = projects(site.engine, organization_id=visitor.organization)
    project = visitor.project or (shown[0] if shown else None)
    return Navigation(
        areas=tuple(_areas(request, project, visitor.member.role)),
        organization=next((one.name for one in theirs if one.id == visitor.organization), ""),
        organizations=tuple(
            Choice(one.id, one.name, one.id == visitor.organization) for one in theirs
        ),
        project="" if project is None else project.name,
        projects=tuple(
            Choice(one.id, one.name, one == project, _areas(request, one)[0].href) for one in shown
        ),
        email=visitor.member.email,
        role=visitor.member.role,
    )


def home(site: Site, request: Request, organization_id: int, project_id: int | None = None) -> str:
    """Return the address of the first area, of this project or the organization's first one."""
    shown = projects(site.engine, organization_id=organization_id)
    chosen = [one for one in shown if project_id in (None, one.id)]
    return _areas(request, chosen[0] if chosen else None)[0].href


def _areas(request: Request, project: Project | None, role: Role = "viewer") -> list[Link]:
    there = {route.path for route in request.app.routes if hasattr(route, "path")}
    templates = [*(PROJECT_AREAS if project else ()), *AREAS]
    path = request.url.path
    for page, area in _WITHIN.items():
        path = path.replace(page, area)
    links = []
    for name, template, needs in templates:
        if allowed(role, needs) and template.replace("{p}", "{p:int}") in there:
            href = template.replace("{p}", str(project.id) if project else "")
            area = "/settings/" if href.startswith("/settings/") else href
            links.append(Link(name, href, path.startswith(area)))
    return links
