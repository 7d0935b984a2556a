"""The catalog's sources: where and with which key SDKs send, in snippets to copy, and what came."""

from __future__ import annotations

from starlette.responses import Response

from tailrace.accounts.projects import Project
from tailrace.state.ledger_view import LedgerView
from tailrace.web import snippets
from tailrace.web.arrivals import Arrivals, arrivals
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import fragment, page
from tailrace.web.setup_steps import catalog_path

SOURCES = "/p/{p:int}/catalog/sources"
UNCHANGED = 204
# Which snippets there are: what stands above one, its name on the page, and who makes it.
_SNIPPETS = (
    ("curl", "From a terminal", snippets.curl),
    ("python", "Python", snippets.python),
    ("node", "Node.js", snippets.node),
    ("browser", "Browser", snippets.browser),
)


def _sources(visit: Visit) -> Response:
    project, url = visit.by.in_project, visit.site.collect_url()
    key = _key(visit, project)
    return page(
        visit,
        "sources.html",
        title="Sources",
        tabs_items=[
            ("Sources", f"/p/{project.id}/catalog/sources", True),
            ("Destinations", catalog_path(visit), False),
        ],
        project=project,
        key=key,
        keys=tuple((one, one) for one in project.api_keys),
        server_url=f"{url}/2/httpapi" if url else "",
        snippets=tuple((name, title, made(url, key)) for name, title, made in _SNIPPETS),
        arrivals=_arrivals(visit),
        waiting=_waiting(visit),
    )


def _live(visit: Visit) -> Response:
    found = _arrivals(visit)
    if visit.request.query_params.get("since") == found.since:
        return Response(status_code=UNCHANGED)
    project, waiting = visit.by.in_project, _waiting(visit)
    return fragment(visit, "sources_live.html", arrivals=found, project=project, waiting=waiting)


def _key(visit: Visit, project: Project) -> str:
    """Return the key that is asked for, or else the first of those that are accepted."""
    asked = visit.request.query_params.get("key", "")
    keys = project.api_keys
    return asked if asked in keys else keys[0] if keys else ""


def _waiting(visit: Visit) -> str:
    ledger = LedgerView(visit.site.engine, visit.site.clock, within=visit.by.organization)
    known = ledger.first_date_with_data(visit.by.in_project.id) is not None
    return f"Waiting for your {'next' if known else 'first'} event…"


def _arrivals(visit: Visit) -> Arrivals:
    return arrivals(visit.site.recent.of(visit.by.in_project.id))


PAGES = (
    Page(SOURCES, _sources, "see_keys"),
    Page(f"{SOURCES}/live", _live, "see_keys"),
)
