"""The list of manual exports of a destination: how far each is, and *Pause*, *Resume*, *Cancel*.

Its filter and its place stand in the address.
"""

from __future__ import annotations

import hashlib

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.roles import allowed
from tailrace.app.backfill import STATUSES, ListAsked
from tailrace.errors import BadRequest
from tailrace.state.delivery import Destination
from tailrace.web.destination_frame import BASE, destination_of, frame, path_of
from tailrace.web.export_data import backfills
from tailrace.web.list_address import ROWS, ListAddress, read_address
from tailrace.web.manual_values import ManualRow, manual_rows
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.rendering import fragment, page

LIST = f"{BASE}/manual-exports"
UNCHANGED = 204


class ManualList(msgspec.Struct, frozen=True):
    """What is shown of the list; `since` names this state of it."""

    rows: tuple[ManualRow, ...]
    count: str
    newer: str
    older: str
    since: str = ""


def _list(visit: Visit) -> Response:
    destination = destination_of(visit)
    address = _address(visit, destination)
    return page(
        visit,
        "manual_exports.html",
        title="Manual Exports",
        frame=frame(visit, destination),
        statuses=(("", "All"), *((one, one.capitalize()) for one in STATUSES)),
        address=address,
        path=path_of(destination),
        now=_read(visit, destination, address),
    )


def _live(visit: Visit) -> Response:
    destination = destination_of(visit)
    address = _address(visit, destination)
    now = _read(visit, destination, address)
    if visit.request.query_params.get("since") == now.since:
        return Response(status_code=UNCHANGED)
    return fragment(
        visit, "manual_exports_live.html", now=now, address=address, path=path_of(destination)
    )


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


def _address(visit: Visit, destination: Destination) -> ListAddress:
    """Return what is asked for; a status that there is not is none."""
    path, query = f"{path_of(destination)}/manual-exports", visit.request.query_params
    found = read_address(path, query, "status")
    known = found.get("status") in STATUSES
    return found if known else msgspec.structs.replace(found, asked={})


def _read(visit: Visit, destination: Destination, address: ListAddress) -> ManualList:
    status = address.get("status")
    # One more than is shown tells whether there are older ones.
    asked = ListAsked(
        destination_id=destination.id,
        statuses=(status,) if status else (),
        skip=address.skip,
        limit=ROWS + 1,
    )
    found = backfills(visit).list(asked)
    may_change = allowed(visit.by.member.role, "export_manually")
    rows = manual_rows(found[:ROWS], may_change=may_change)
    made = ManualList(
        rows=rows,
        count=address.count(len(rows)),
        newer=address.newer,
        older=address.older if len(found) > ROWS else "",
    )
    digest = hashlib.sha256(msgspec.json.encode(made)).hexdigest()[:16]
    return msgspec.structs.replace(made, since=digest)


PAGES = (
    Page(LIST, _list, "see"),
    Page(f"{LIST}/live", _live, "see"),
    Page(f"{LIST}/{{n:int}}/{{action}}", _act, "export_manually", "POST"),
)
