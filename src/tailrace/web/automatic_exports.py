"""The list of automatic exports of a destination, with its filters in the address (R45, R46)."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from tailrace.app.runs import RUNS_DEFAULT, RunsAsked, list_runs
from tailrace.errors import BadRequest
from tailrace.notify.amounts import counted
from tailrace.state.delivery import Destination
from tailrace.web.automatic_values import STATUSES, AutomaticRow, automatic_rows, states_of
from tailrace.web.destination_frame import BASE, destination_of, frame, path_of
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import fragment, page

LIST = f"{BASE}/automatic-exports"
UNCHANGED = 204
# A destination that is as old as UTC hours are has no more rows than this.
SKIP_MAX = 2_000_000
# A column of the table, and the sort that its head asks for.
SORTS = (("Date Exported (UTC)", "hour"), ("Completed At (UTC)", "completed"))
FIRST_COLUMNS = ("Status", "Date Exported (UTC)", "Completed At (UTC)")
NUMBERS = ("Events", "Files", "Size", "Delay", "Attempts")


class Chosen(msgspec.Struct, frozen=True):
    """What the address asks for, as it was written; `query` is that again, without the place."""

    status: str
    first: str
    last: str
    sort: str
    skip: int

    @property
    def narrows(self) -> bool:
        """Tell whether something may be left out."""
        return bool(self.status or self.first or self.last)

    def query(self, **changes: str | int) -> str:
        """Return the address's query with some of it changed; what says nothing is left out."""
        asked: dict[str, str | int] = {
            "status": self.status,
            "from": self.first,
            "to": self.last,
            "sort": "" if self.sort == "hour" else self.sort,
            "skip": self.skip,
        }
        return urlencode({name: one for name, one in (asked | changes).items() if one})


class AutomaticList(msgspec.Struct, frozen=True):
    """What is shown of the list; `since` names this state of it."""

    columns: tuple[str, ...]
    rows: tuple[AutomaticRow, ...]
    count: str
    newer: str
    older: str
    both: bool
    sorts: dict[str, tuple[str, bool]]
    since: str = ""


def _list(visit: Visit) -> Response:
    destination, chosen, problems = destination_of(visit), _chosen(visit), Problems()
    try:
        now = _read(visit, destination, chosen)
    except BadRequest as error:
        problems.add("to" if str(error).startswith("The end date") else "from", error)
        chosen = msgspec.structs.replace(chosen, skip=0)
        now = _shown(destination, chosen, (), more=False)
    return page(
        visit,
        "automatic_exports.html",
        title="Automatic Exports",
        status=422 if problems else 200,
        frame=frame(visit, destination),
        statuses=(("", "All"), *((value, text) for value, text, _ in STATUSES)),
        chosen=chosen,
        numbers=NUMBERS,
        failures=f"{path_of(destination)}/failures",
        live=f"{path_of(destination)}/automatic-exports/live?{chosen.query()}",
        problems=problems,
        now=now,
    )


def _live(visit: Visit) -> Response:
    destination, chosen = destination_of(visit), _chosen(visit)
    now = _read(visit, destination, chosen)
    if visit.request.query_params.get("since") == now.since:
        return Response(status_code=UNCHANGED)
    return fragment(
        visit,
        "automatic_exports_live.html",
        now=now,
        chosen=chosen,
        numbers=NUMBERS,
        failures=f"{path_of(destination)}/failures",
    )


def _chosen(visit: Visit) -> Chosen:
    """Return what is asked for; what there is none of shows all."""
    asked = visit.request.query_params
    status, sort, skip = asked.get("status", ""), asked.get("sort", ""), asked.get("skip", "")
    return Chosen(
        status=status if states_of(status) else "",
        first=asked.get("from", ""),
        last=asked.get("to", ""),
        sort=sort if sort in {one for _, one in SORTS} else "hour",
        skip=min(int(skip), SKIP_MAX) if skip.isdecimal() and skip.isascii() else 0,
    )


def _read(visit: Visit, destination: Destination, chosen: Chosen) -> AutomaticList:
    site = visit.site
    asked = RunsAsked(
        destination_id=destination.id,
        states=states_of(chosen.status),
        first=chosen.first or None,
        last=chosen.last or None,
        sort=chosen.sort,
        skip=chosen.skip,
    )
    found = list_runs(site.engine, site.clock, asked, within=visit.by.organization)
    rows = automatic_rows(found.runs, f"{path_of(destination)}/hours")
    return _shown(destination, chosen, rows, more=found.more)


def _shown(
    destination: Destination, chosen: Chosen, rows: tuple[AutomaticRow, ...], *, more: bool
) -> AutomaticList:
    path = f"{path_of(destination)}/automatic-exports"
    place = f", from row {chosen.skip + 1:,} on" if chosen.skip else ""
    before = max(0, chosen.skip - RUNS_DEFAULT)
    both = len(destination.data_types) > 1
    found = AutomaticList(
        columns=(*FIRST_COLUMNS, "Data", *NUMBERS) if both else (*FIRST_COLUMNS, *NUMBERS),
        rows=rows,
        count=f"Showing {counted(len(rows), 'row')}{place}",
        newer=f"{path}?{chosen.query(skip=before)}" if chosen.skip else "",
        older=f"{path}?{chosen.query(skip=chosen.skip + RUNS_DEFAULT)}" if more else "",
        both=both,
        sorts={
            column: (f"{path}?{chosen.query(sort=sort, skip=0)}", sort == chosen.sort)
            for column, sort in SORTS
        },
    )
    digest = hashlib.sha256(msgspec.json.encode(found)).hexdigest()[:16]
    return msgspec.structs.replace(found, since=digest)


PAGES = (Page(LIST, _list, "see"), Page(f"{LIST}/live", _live, "see"))
