"""The list of automatic exports of a destination, with its filters in the address (R45, R46).

With another trigger than the hour it lists the runs of a manual export, or all runs there are.
"""

from __future__ import annotations

import hashlib

import msgspec
from starlette.responses import Response

from tailrace.app.runs import RunsAsked, list_runs
from tailrace.errors import BadRequest
from tailrace.state.delivery import AUTOMATIC, Destination
from tailrace.state.manual_exports import ManualExports
from tailrace.web.automatic_values import (
    DATA,
    FIRST_COLUMNS,
    NUMBERS,
    SORTS,
    STATUSES,
    TRIGGER,
    AutomaticRow,
    automatic_rows,
    states_of,
    trigger_word,
)
from tailrace.web.destination_frame import BASE, destination_of, frame, path_of
from tailrace.web.list_address import ROWS, ListAddress, read_address, wrong_date
from tailrace.web.numbers import is_number
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import fragment, page

LIST = f"{BASE}/automatic-exports"
UNCHANGED = 204
# In place of a manual export's number: whatever made them.
EVERY = "all"
# As many manual exports are there to choose from; of others their own list leads here.
TRIGGERS_MAX = 20
_SORTS = {sort for _, sort in SORTS}


class AutomaticList(msgspec.Struct, frozen=True):
    """What is shown of the list; `since` names this state of it."""

    columns: tuple[str, ...]
    rows: tuple[AutomaticRow, ...]
    count: str
    newer: str
    older: str
    both: bool
    triggers: bool
    caption: str
    sorts: dict[str, tuple[str, bool]]
    since: str = ""


def _list(visit: Visit) -> Response:
    destination, problems = destination_of(visit), Problems()
    address = _address(visit, destination)
    try:
        now = _read(visit, destination, address)
    except BadRequest as error:
        problems.add(wrong_date(error), error)
        now = _shown(destination, address, (), more=False)
    return page(
        visit,
        "automatic_exports.html",
        title="Automatic Exports",
        status=422 if problems else 200,
        frame=frame(visit, destination),
        statuses=(("", "All"), *((value, text) for value, text, _ in STATUSES)),
        triggers=_triggers(visit, destination, address.get("trigger")),
        address=address,
        live="" if problems else address.here("/live"),
        numbers=NUMBERS,
        failures=f"{path_of(destination)}/failures",
        problems=problems,
        now=now,
    )


def _live(visit: Visit) -> Response:
    destination = destination_of(visit)
    address = _address(visit, destination)
    now = _read(visit, destination, address)
    if visit.request.query_params.get("since") == now.since:
        return Response(status_code=UNCHANGED)
    return fragment(
        visit,
        "automatic_exports_live.html",
        now=now,
        address=address,
        numbers=NUMBERS,
        failures=f"{path_of(destination)}/failures",
    )


def _address(visit: Visit, destination: Destination) -> ListAddress:
    """Return what is asked for; a status, trigger or order that there is not is none."""
    path, query = f"{path_of(destination)}/automatic-exports", visit.request.query_params
    found = read_address(path, query, "status", "trigger", "from", "to", "sort")
    known = {
        "status": bool(states_of(found.get("status"))),
        "trigger": _is_trigger(visit, destination, found.get("trigger")),
        "sort": found.get("sort") in _SORTS,
    }
    asked = {name: one for name, one in found.asked.items() if known.get(name, True)}
    return msgspec.structs.replace(found, asked=asked)


def _triggers(visit: Visit, destination: Destination, chosen: str) -> list[tuple[str, str]]:
    """Return what made runs, to choose from: the newest manual exports, and a chosen older one."""
    exports = _exports(visit).list(destination_id=destination.id, limit=TRIGGERS_MAX)
    numbers = {one.id for one in exports} | ({int(chosen)} if is_number(chosen) else set())
    by_hand = [(str(one), trigger_word(one)) for one in sorted(numbers, reverse=True)]
    return [("", trigger_word(AUTOMATIC)), (EVERY, "Hourly and manual"), *by_hand]


def _is_trigger(visit: Visit, destination: Destination, asked: str) -> bool:
    if asked == EVERY or not is_number(asked) or str(int(asked)) != asked:
        return asked == EVERY
    try:
        return _exports(visit).get(int(asked)).destination_id == destination.id
    except BadRequest:
        return False


def _manual_export(trigger: str) -> int | None:
    """Return what `RunsAsked` calls a trigger of an address."""
    if trigger == EVERY:
        return None
    return int(trigger) if trigger else AUTOMATIC


def _exports(visit: Visit) -> ManualExports:
    return ManualExports(visit.site.engine, visit.site.clock, within=visit.by.organization)


def _read(visit: Visit, destination: Destination, address: ListAddress) -> AutomaticList:
    site = visit.site
    asked = RunsAsked(
        destination_id=destination.id,
        states=states_of(address.get("status")),
        first=address.get("from") or None,
        last=address.get("to") or None,
        manual_export=_manual_export(address.get("trigger")),
        sort=address.get("sort") or "hour",
        skip=address.skip,
        limit=ROWS,
    )
    found = list_runs(site.engine, site.clock, asked, within=visit.by.organization)
    rows = automatic_rows(found.runs, path_of(destination))
    return _shown(destination, address, rows, more=found.more)


def _shown(
    destination: Destination, address: ListAddress, rows: tuple[AutomaticRow, ...], *, more: bool
) -> AutomaticList:
    both, triggers = len(destination.data_types) > 1, bool(address.get("trigger"))
    more_columns = (*((DATA,) if both else ()), *((TRIGGER,) if triggers else ()))
    found = AutomaticList(
        columns=(*FIRST_COLUMNS, *more_columns, *NUMBERS),
        rows=rows,
        count=address.count(len(rows)),
        newer=address.newer,
        older=address.older if more else "",
        both=both,
        triggers=triggers,
        caption="Runs, the newest first" if triggers else "Automatic exports, the newest first",
        sorts={
            column: (address.href(sort=sort), sort == address.get("sort")) for column, sort in SORTS
        },
    )
    digest = hashlib.sha256(msgspec.json.encode(found)).hexdigest()[:16]
    return msgspec.structs.replace(found, since=digest)


PAGES = (Page(LIST, _list, "see"), Page(f"{LIST}/live", _live, "see"))
