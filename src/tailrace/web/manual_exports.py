"""The list of manual exports of a destination: how far each is, and *Pause*, *Resume*, *Cancel*."""

from __future__ import annotations

import hashlib

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.roles import allowed
from tailrace.app.backfill import STATUSES, ListAsked
from tailrace.errors import BadRequest
from tailrace.notify.amounts import counted
from tailrace.state.delivery import Destination
from tailrace.web.destination_frame import BASE, destination_of, frame
from tailrace.web.export_data import backfills
from tailrace.web.manual_values import ManualRow, manual_rows
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.rendering import fragment, page

LIST = f"{BASE}/manual-exports"
UNCHANGED = 204


class ManualList(msgspec.Struct, frozen=True):
    """What is shown of the list; `since` names this state of it."""

    rows: tuple[ManualRow, ...]
    count: str
    since: str


def _list(visit: Visit) -> Response:
    destination = destination_of(visit)
    around = frame(visit, destination)
    chosen = _status(visit)
    return page(
        visit,
        "manual_exports.html",
        title="Manual Exports",
        frame=around,
        statuses=tuple((one, one, one == chosen) for one in STATUSES),
        chosen=chosen,
        path=around.path,
        now=_read(visit, destination, chosen),
    )


def _live(visit: Visit) -> Response:
    destination, chosen = destination_of(visit), _status(visit)
    now = _read(visit, destination, chosen)
    if visit.request.query_params.get("since") == now.since:
        return Response(status_code=UNCHANGED)
    path = frame(visit, destination).path
    return fragment(visit, "manual_exports_live.html", now=now, path=path)


def _act(visit: Visit) -> Response:
    """Do what a button says with one manual export of this destination."""
    destination = destination_of(visit)
    exports, number = backfills(visit), visit.number("n")
    actions = {"pause": exports.pause, "resume": exports.resume, "cancel": exports.cancel}
    action = actions.get(visit.request.path_params["action"])
    if action is None:
        raise NotThere("There is no such action.")
    try:
        found = exports.get(number)
    except BadRequest as error:
        raise NotThere(str(error)) from error
    if found.export.destination_id != destination.id:
        raise NotThere(f"There is no manual export {number} of this destination.")
    action(number)
    path = frame(visit, destination).path
    return RedirectResponse(f"{path}/manual-exports#export-{number}", 303)


def _status(visit: Visit) -> str:
    """Return the status that is asked for; anything else shows all."""
    asked = visit.request.query_params.get("status", "")
    return asked if asked in STATUSES else ""


def _read(visit: Visit, destination: Destination, status: str) -> ManualList:
    statuses = (status,) if status else ()
    found = backfills(visit).list(ListAsked(destination_id=destination.id, statuses=statuses))
    may_change = allowed(visit.by.member.role, "export_manually")
    shown = manual_rows(found, may_change=may_change)
    count = f"Showing {counted(len(shown), 'row')}"
    return ManualList(shown, count, hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:16])


PAGES = (
    Page(LIST, _list, "see"),
    Page(f"{LIST}/live", _live, "see"),
    Page(f"{LIST}/{{n:int}}/{{action}}", _act, "export_manually", "POST"),
)
