"""The pages of destinations: the list of them, and the overview of one with its grid of hours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from tailrace.accounts.roles import allowed
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.notify.amounts import counted
from tailrace.notify.room import Room, RoomGauge
from tailrace.state.audit import last_by
from tailrace.state.database import reading
from tailrace.state.delivery import Destination
from tailrace.state.destinations import Destinations
from tailrace.state.drafts import Drafts
from tailrace.state.ledger_view import LedgerView
from tailrace.state.processing_view import ProcessingView
from tailrace.web.bars import bars
from tailrace.web.destination_frame import BASE, destination_of, frame, path_of, there
from tailrace.web.destination_rows import DestinationRow, by_need, destination_row
from tailrace.web.health import health, owed_of
from tailrace.web.heatmap import Collected, grid
from tailrace.web.overview_values import Overview, collected_of, notice, rows, tiles
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import fragment, page
from tailrace.web.setup_steps import go_on_path, step_path

DAYS = (14, 28)
HOUR_PAGE = f"{BASE}/hours/{{hour}}"
UNCHANGED = 204
# The hours' names; every third is seen, all are read.
LABELS = tuple((f"{hour:02d}", hour % 3 == 0) for hour in range(24))


class GoOn(msgspec.Struct, frozen=True):
    """The set-up that leads to a destination: where it is, or what begins it; both may be empty."""

    href: str
    begin: str


def _list(visit: Visit) -> Response:
    project = visit.by.in_project
    found = Destinations(visit.site.engine, visit.site.clock, within=visit.by.organization).list(
        project=project.id
    )
    shown = by_need([_row(visit, one) for one in found])
    connect = f"/p/{project.id}/catalog/destinations"
    return page(
        visit,
        "destinations.html",
        title="Destinations",
        shown=shown,
        connect=connect if there(visit.request, "/p/{p:int}/catalog/destinations") else "",
        stored=f"{counted(_stored(visit), 'event')} of this project wait here for one.",
    )


def _overview(visit: Visit) -> Response:
    destination = destination_of(visit)
    days = _days(visit)
    return page(
        visit,
        "overview.html",
        title=destination.name,
        frame=frame(visit, destination),
        days=days,
        choices=_choices(destination, days),
        labels=LABELS,
        failures=f"{path_of(destination)}/failures",
        all_runs=f"{path_of(destination)}/automatic-exports?trigger=all",
        go_on=_go_on(visit, destination),
        now=_read(visit, destination, days),
    )


def _live(visit: Visit) -> Response:
    destination = destination_of(visit)
    days = _days(visit)
    now = _read(visit, destination, days)
    if visit.request.query_params.get("since") == now.since:
        return Response(status_code=UNCHANGED)
    return fragment(
        visit,
        "overview_live.html",
        now=now,
        choices=_choices(destination, days),
        labels=LABELS,
        failures=f"{path_of(destination)}/failures",
        all_runs=f"{path_of(destination)}/automatic-exports?trigger=all",
        go_on=_go_on(visit, destination),
    )


def _go_on(visit: Visit, destination: Destination) -> GoOn:
    """Return how the visitor goes on with the set-up of a destination, if it is unfinished."""
    may = allowed(visit.by.member.role, "manage_destinations")
    if destination.state != "setting_up" or not may:
        return GoOn("", "")
    known = Drafts(visit.site.engine, visit.site.clock, within=visit.by.organization)
    draft = known.of_destination(destination.id)
    if draft is None:
        return GoOn("", go_on_path(visit, destination))
    return GoOn(step_path(visit, draft.id, "verify"), "")


def _choices(destination: Destination, days: int) -> tuple[tuple[str, str, bool], ...]:
    path = path_of(destination)
    return tuple((f"{one} days", f"{path}?days={one}", one == days) for one in DAYS)


def _days(visit: Visit) -> int:
    asked = visit.request.query_params.get("days", "")
    return int(asked) if asked in {str(one) for one in DAYS} else DAYS[0]


def _read(visit: Visit, destination: Destination, days: int) -> Overview:
    """Read what there is and put it into words."""
    site = visit.site
    now, machine = site.clock.now_micros(), site.machine_clock.now_micros()
    today = Hour.of_micros(now)
    until = today.day_start().plus(24)
    ledger = LedgerView(site.engine, site.clock, within=visit.by.organization)
    known = ledger.hours_of(destination.id, until.plus(-24 * days), until)
    collected = _collected(visit, destination)
    so_far = collected_of(collected, today)
    doing = health(destination, known, now, _paused_by(visit, destination))
    owed = owed_of(known)
    hours = f"{path_of(destination)}/hours" if there(visit.request, HOUR_PAGE) else ""
    found = Overview(
        health=doing,
        notice=notice(destination, doing, owed, so_far, now),
        tiles=tiles(destination, known, doing, owed, so_far, _room(visit), now),
        days=grid(
            destination, known, collected, now_micros=now, machine_micros=machine, path=hours
        ),
        bars=bars(destination, known, now) if any(one.runs for one in known) else None,
        rows=rows(destination, known, now, hours),
    )
    return msgspec.structs.replace(found, since=_digest(found))


def _row(visit: Visit, destination: Destination) -> DestinationRow:
    now = visit.site.clock.now_micros()
    until = Hour.of_micros(now).next()
    ledger = LedgerView(visit.site.engine, visit.site.clock, within=visit.by.organization)
    known = ledger.hours_of(destination.id, until.plus(-24 * DAYS[0]), until)
    doing = health(destination, known, now, _paused_by(visit, destination))
    return destination_row(destination, known, doing, now)


def _collected(visit: Visit, destination: Destination) -> Sequence[Collected]:
    """Return what the open hours hold; of merged IDs, what is counted of the organization."""
    view = ProcessingView(visit.site.folder.processing_database)
    if destination.include_events:
        return [
            Collected(Hour.parse(one.hour), one.exported)
            for one in view.open_hours()
            if one.project == destination.project
        ]
    return [
        Collected(Hour.parse(one.hour), one.merges)
        for one in view.open_merges()
        if one.organization == destination.organization
    ]


def _stored(visit: Visit) -> int:
    """Return how many events of the project are stored and wait for a destination."""
    project = visit.by.in_project.id
    ledger = LedgerView(visit.site.engine, visit.site.clock, within=visit.by.organization)
    sealed = sum(one.lines for one in ledger.dates_with_data(project))
    view = ProcessingView(visit.site.folder.processing_database)
    return sealed + sum(one.exported for one in view.open_hours() if one.project == project)


def _paused_by(visit: Visit, destination: Destination) -> str:
    if destination.state != "paused":
        return ""
    return last_by(visit.site.engine, f"destination {destination.id}", "paused") or ""


def _room(visit: Visit) -> Room:
    site = visit.site
    gauge = RoomGauge(
        site.engine, Files(), site.folder.path, site.settings.disk, site.machine_clock
    )
    with reading(site.engine) as connection:
        return gauge.room(connection)


def _digest(found: Overview) -> str:
    return hashlib.sha256(msgspec.json.encode(found)).hexdigest()[:16]


PAGES = (
    Page("/p/{p:int}/destinations", _list, "see"),
    Page(BASE, _overview, "see"),
    Page(f"{BASE}/live", _live, "see"),
)
