"""What happened at a destination, and who did it: as a page with filters, and as CSV (R45)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from tailrace.errors import BadRequest
from tailrace.export.ranges import HourRange, parse_open_range
from tailrace.hours import Hour
from tailrace.state.activity import ACTIVITY_KINDS, HAPPENINGS_MAX, ActivityKind, Happening
from tailrace.state.delivery import Destination
from tailrace.state.ledger_view import LedgerView
from tailrace.web.activity_values import COLUMNS, KINDS, activity_rows, as_csv, who_words
from tailrace.web.destination_frame import BASE, destination_of, frame, path_of
from tailrace.web.list_address import ROWS, ListAddress, read_address, wrong_date
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page

LIST = f"{BASE}/activity"
_FILE = f"{BASE}/activity.csv"


def _list(visit: Visit) -> Response:
    destination, problems = destination_of(visit), Problems()
    address, found, more = _address(visit, destination), [], False
    try:
        # One more than is shown tells whether there are older ones.
        read = _read(visit, destination, address, skip=address.skip, limit=ROWS + 1)
        found, more = list(read[:ROWS]), len(read) > ROWS
    except BadRequest as error:
        problems.add(wrong_date(error), error)
    path = path_of(destination)
    actors = _ledger(visit).actors(destination.id)
    return page(
        visit,
        "activity.html",
        title="Activity",
        status=422 if problems else 200,
        frame=frame(visit, destination),
        address=address,
        problems=problems,
        kinds=(("", "All"), *KINDS),
        actors=(("", "Everybody"), *((one, who_words(one)) for one in actors)),
        columns=COLUMNS,
        rows_shown=activity_rows(found, path, address.skip),
        count=address.count(len(found)),
        newer=address.newer,
        older=address.older if more else "",
        download=msgspec.structs.replace(address, path=f"{path}/activity.csv").href(),
    )


def _download(visit: Visit) -> Response:
    """Return the same as CSV, of which a page shows a part; the newest of it if there is more."""
    destination = destination_of(visit)
    address = _address(visit, destination)
    found = _read(visit, destination, address, skip=0, limit=HAPPENINGS_MAX)
    name = f"activity-{destination.project}-{destination.id}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(as_csv(found), media_type="text/csv", headers=headers)


def _read(
    visit: Visit, destination: Destination, address: ListAddress, *, skip: int, limit: int
) -> Sequence[Happening]:
    """Return what is asked for; raise `BadRequest` that names the date that is none."""
    asked = _range(visit, address)
    return _ledger(visit).happenings(
        destination.id,
        kind=_kind(address.get("kind")),
        who=address.get("who") or None,
        since=None if asked is None else asked.from_hour,
        before=None if asked is None else asked.until_hour,
        skip=skip,
        limit=limit,
    )


def _range(visit: Visit, address: ListAddress) -> HourRange | None:
    first, last = address.get("from"), address.get("to")
    if not first and not last:
        return None
    now = Hour.of_micros(visit.site.clock.now_micros())
    return parse_open_range(first or None, last or None, now)


def _address(visit: Visit, destination: Destination) -> ListAddress:
    """Return what is asked for; a kind that there is not is none."""
    query = visit.request.query_params
    found = read_address(f"{path_of(destination)}/activity", query, "kind", "who", "from", "to")
    if _kind(found.get("kind")) is not None:
        return found
    return msgspec.structs.replace(found, asked=found.asked | {"kind": ""})


def _kind(asked: str) -> ActivityKind | None:
    return next((kind for kind in ACTIVITY_KINDS if kind == asked), None)


def _ledger(visit: Visit) -> LedgerView:
    return LedgerView(visit.site.engine, visit.site.clock, within=visit.by.organization)


PAGES = (Page(LIST, _list, "see"), Page(_FILE, _download, "see"))
