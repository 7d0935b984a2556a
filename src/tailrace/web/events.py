"""What was sent to a project last: events that were accepted, and requests that were not."""

from __future__ import annotations

import hashlib

import msgspec
from starlette.responses import Response

from tailrace.app.refused import read_refused
from tailrace.web.event_values import EventRow, RefusedRow, event_rows, refused_rows
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import fragment, page

EVENTS = "/p/{p:int}/events"
UNCHANGED = 204


class Sent(msgspec.Struct, frozen=True):
    """What is shown; `since` names this state of it."""

    accepted: tuple[EventRow, ...]
    refused: tuple[RefusedRow, ...]
    since: str = ""


def _events(visit: Visit) -> Response:
    project = visit.by.in_project
    return page(
        visit,
        "events.html",
        title="Events",
        now=_sent(visit),
        live=f"/p/{project.id}/events/live",
        sources=f"/p/{project.id}/catalog/sources",
    )


def _live(visit: Visit) -> Response:
    now = _sent(visit)
    if visit.request.query_params.get("since") == now.since:
        return Response(status_code=UNCHANGED)
    sources = f"/p/{visit.by.in_project.id}/catalog/sources"
    return fragment(visit, "events_live.html", now=now, sources=sources)


def _sent(visit: Visit) -> Sent:
    site, project = visit.site, visit.by.in_project.id
    found = Sent(
        accepted=event_rows(site.recent.of(project)),
        refused=refused_rows(read_refused(site.folder.run, project)),
    )
    digest = hashlib.sha256(msgspec.json.encode(found)).hexdigest()[:16]
    return msgspec.structs.replace(found, since=digest)


PAGES = (Page(EVENTS, _events, "see_events"), Page(f"{EVENTS}/live", _live, "see_events"))
