"""The catalog's destinations: what can be connected, what is, and set-ups that were begun."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.roles import allowed
from tailrace.notify.amounts import counted, moment
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Draft, Drafts
from tailrace.state.naming import DEFAULT_NAME
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import page
from tailrace.web.setup_steps import (
    catalog_path,
    data_words,
    destinations,
    draft_of,
    own_destination,
    page_exists,
    place_words,
    setting_up,
    step_path,
)

LIST = "/p/{p:int}/destinations"


class Unfinished(msgspec.Struct, frozen=True):
    """A set-up that was begun, in words; `draft` 0 is a destination that a command has added."""

    draft: int
    destination: int
    name: str
    what: str
    since: str
    href: str


def unfinished(
    drafts: Sequence[Draft], found: Sequence[Destination], base: str
) -> tuple[Unfinished, ...]:
    """Return the set-ups that somebody may go on with; `base` is the project's address."""
    known = {one.destination_id for one in drafts}
    names = {one.id: one.name for one in found}
    begun = [
        Unfinished(
            draft=one.id,
            destination=one.destination_id or 0,
            name=one.choices.name or names.get(one.destination_id or 0, DEFAULT_NAME),
            what=place_words(one.choices) or data_words(one.choices),
            since=f"last changed {moment(one.changed_micros)} by {one.changed_by}",
            href=f"{base}/setup/{one.id}/{'verify' if one.destination_id else 'policy'}",
        )
        for one in drafts
    ]
    added = [
        Unfinished(
            draft=0,
            destination=one.id,
            name=one.name,
            what=f"s3://{one.bucket}/{one.prefix}",
            since=f"added {moment(one.created_micros)}",
            href="",
        )
        for one in found
        if one.state == "setting_up" and one.id not in known
    ]
    return (*begun, *added)


def _catalog(visit: Visit) -> Response:
    project = visit.by.in_project
    found = destinations(visit).list(project=project.id)
    connected = sum(one.state != "setting_up" for one in found)
    base = f"/p/{project.id}"
    known = Drafts(visit.site.engine, visit.site.clock, within=visit.by.organization)
    drafts = known.unfinished(project.id)
    tabs = [("Destinations", catalog_path(visit), True)]
    if allowed(visit.by.member.role, "see_keys"):
        tabs.insert(0, ("Sources", f"{base}/catalog/sources", False))
    return page(
        visit,
        "catalog.html",
        title="Catalog",
        tabs_items=tabs,
        base=base,
        may_manage=allowed(visit.by.member.role, "manage_destinations"),
        connected=f"{counted(connected, 'bucket')} connected" if connected else "",
        list_href=f"{base}/destinations" if page_exists(visit, LIST) else "",
        unfinished=unfinished(drafts, found, base),
    )


def _go_on(visit: Visit) -> Response:
    draft = setting_up(visit).go_on(own_destination(visit))
    return RedirectResponse(step_path(visit, draft.id, "policy"), 303)


def _discard(visit: Visit) -> Response:
    setting_up(visit).discard(draft_of(visit).id)
    return RedirectResponse(catalog_path(visit), 303)


PAGES = (
    Page("/p/{p:int}/catalog/destinations", _catalog, "see"),
    Page("/p/{p:int}/catalog/set-up/{d:int}", _go_on, "manage_destinations", "POST"),
    Page("/p/{p:int}/setup/{draft:int}/discard", _discard, "manage_destinations", "POST"),
)
