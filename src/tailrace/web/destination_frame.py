"""What every page of one destination has around it: where it is, what it is called, its tabs."""

from __future__ import annotations

import hashlib

import msgspec
from starlette.requests import Request

from tailrace.accounts.roles import allowed
from tailrace.errors import BadRequest
from tailrace.state.delivery import LIVING_STATES, Destination
from tailrace.state.destination_fields import CHANGEABLE
from tailrace.state.destinations import Destinations
from tailrace.web.page import NotThere, Visit

BASE = "/p/{p:int}/destinations/{d:int}"
# A name, and what follows the destination's own address.
_TABS = (
    ("Overview", ""),
    ("Automatic Exports", "/automatic-exports"),
    ("Manual Exports", "/manual-exports"),
    ("Activity", "/activity"),
    ("Configuration", "/configuration"),
)


class Link(msgspec.Struct, frozen=True):
    """A link of the frame."""

    text: str
    href: str


class Frame(msgspec.Struct, frozen=True):
    """The head of a destination's page. Links lead only where there is a page for the visitor."""

    path: str
    title: str
    place: str
    region: str
    tabs: tuple[tuple[str, str, bool], ...]
    crumbs: tuple[Link, ...]
    export_href: str
    manage_href: str


def destination_of(visit: Visit) -> Destination:
    """Return the destination of an address with `{d}`; raise `NotThere` for any other."""
    destinations = Destinations(
        visit.site.engine, visit.site.clock, by=visit.by.name, within=visit.by.organization
    )
    try:
        found = destinations.get(visit.number("d"))
    except BadRequest as error:
        raise NotThere(str(error)) from error
    if found.project != visit.by.in_project.id or found.state not in LIVING_STATES:
        raise NotThere(f"There is no destination {found.id} in this project.")
    return found


def version_of(destination: Destination) -> str:
    """Return what stands for all that people can change of a destination, as it is now.

    A form holds it, so that what somebody else changed meanwhile is not changed back unseen.
    """
    told = [getattr(destination, name) for name in CHANGEABLE]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def require_version(visit: Visit, destination: Destination) -> None:
    """Raise `BadRequest` if a form was shown before the destination became what it is."""
    seen = visit.field("version")
    if seen and seen != version_of(destination):
        raise BadRequest(
            "Somebody changed this destination meanwhile, so nothing was taken of what you sent. "
            "This is how it is now: change it once more."
        )


def path_of(destination: Destination) -> str:
    """Return the address of a destination's overview."""
    return f"/p/{destination.project}/destinations/{destination.id}"


def frame(visit: Visit, destination: Destination) -> Frame:
    """Return the frame of a destination's page for this visitor."""
    path, request = path_of(destination), visit.request
    export, manage = f"{BASE}/export", f"{BASE}/manage"
    may_export = allowed(visit.by.member.role, "export_manually")
    may_manage = allowed(visit.by.member.role, "manage_destinations")
    return Frame(
        path=path,
        title=destination.name,
        place=f"s3://{destination.bucket}/{destination.prefix}",
        region=destination.region or "",
        tabs=tuple(
            (name, path + end, request.url.path == path + end)
            for name, end in _TABS
            if there(request, BASE + end)
        ),
        crumbs=(Link("Destinations", f"/p/{destination.project}/destinations"),),
        export_href=f"{path}/export" if may_export and there(request, export) else "",
        manage_href=f"{path}/manage" if may_manage and there(request, manage) else "",
    )


def there(request: Request, template: str) -> bool:
    """Tell whether there is a page of this template."""
    return any(getattr(route, "path", "") == template for route in request.app.routes)
