"""*Export Data*: choose a range of past hours, see what an export of it would do, and start it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.app.backfill import Asked, Backfills
from tailrace.clock import to_datetime
from tailrace.errors import BadRequest, TailraceError
from tailrace.state.delivery import DataType, Destination
from tailrace.state.ledger_view import LedgerView
from tailrace.web.destination_frame import BASE, Link, destination_of, frame
from tailrace.web.page import Page, Visit
from tailrace.web.plan_values import PlanView, plan_view
from tailrace.web.problems import Problems
from tailrace.web.rendering import page

WHOLE_DAY = ""
# The hours of a day, as both selects show them.
FIRST_HOURS = ((WHOLE_DAY, "from 00:00"), *((f"{n:02d}", f"{n:02d}:00") for n in range(24)))
LAST_HOURS = ((WHOLE_DAY, "to 24:00"), *((f"{n:02d}", f"{n:02d}:59") for n in range(24)))


class Range(msgspec.Struct, frozen=True):
    """What is in the form: dates as inputs have them, hours of two digits or none."""

    first_date: str
    first_hour: str
    last_date: str
    last_hour: str
    types: tuple[str, ...]
    overwrite: bool


def backfills(visit: Visit) -> Backfills:
    """Return the manual exports, as the visitor may see and change them."""
    site = visit.site
    return Backfills(
        site.folder,
        site.settings,
        site.engine,
        site.clock,
        by=visit.by.name,
        within=visit.by.organization,
    )


def export_query(first: str, last: str, types: Sequence[DataType]) -> str:
    """Return the query that fills the form in: UTC dates or hours, both ends included."""
    return "?" + urlencode([("from", first), ("to", last), *(("types", one) for one in types)])


def _form(visit: Visit) -> Response:
    destination = destination_of(visit)
    asked = visit.request.query_params
    first = asked.get("from", _date(visit, 1))
    first_date, first_hour = _parts(first, FIRST_HOURS)
    last_date, last_hour = _parts(asked.get("to", first), LAST_HOURS)
    types = tuple(one for one in destination.data_types if one in asked.getlist("types"))
    chosen = Range(
        first_date=first_date,
        first_hour=first_hour,
        last_date=last_date,
        last_hour=last_hour,
        types=types or destination.data_types,
        overwrite=False,
    )
    return _show(visit, destination, chosen, Problems())


def _parts(moment: str, hours: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the date and the hour of what an address asks for; no hour that there is: none."""
    date, _, hour = moment.partition("T")
    return date, hour if any(hour == known for known, _ in hours) else WHOLE_DAY


def _preview(visit: Visit) -> Response:
    destination, chosen, problems = destination_of(visit), _read(visit), Problems()
    try:
        planned = backfills(visit).plan(_asked(destination, chosen))
    except BadRequest as error:
        problems.add(_field_of(error), error)
        return _show(visit, destination, chosen, problems)
    except TailraceError as error:
        return _show(visit, destination, chosen, problems, trouble=str(error))
    return _show(visit, destination, chosen, problems, plan=plan_view(planned))


def _start(visit: Visit) -> Response:
    destination, chosen, problems = destination_of(visit), _read(visit), Problems()
    try:
        started = backfills(visit).start(_asked(destination, chosen))
    except BadRequest as error:
        problems.add(_field_of(error), error)
        return _show(visit, destination, chosen, problems)
    path = frame(visit, destination).path
    return RedirectResponse(f"{path}/manual-exports#export-{started.shown.export.id}", 303)


def _show(
    visit: Visit,
    destination: Destination,
    chosen: Range,
    problems: Problems,
    *,
    plan: PlanView | None = None,
    trouble: str = "",
) -> Response:
    return page(
        visit,
        "export_data.html",
        title="Export Data",
        status=422 if problems else 200,
        frame=frame(visit, destination),
        chosen=chosen,
        first_hours=FIRST_HOURS,
        last_hours=LAST_HOURS,
        both=len(destination.data_types) > 1,
        shortcuts=_shortcuts(visit, destination),
        problems=problems,
        plan=plan,
        trouble=trouble,
    )


def _shortcuts(visit: Visit, destination: Destination) -> tuple[Link, ...]:
    yesterday = _date(visit, 1)
    found = [
        Link("Yesterday", f"?from={yesterday}"),
        Link("Last 7 days", f"?from={_date(visit, 7)}&to={yesterday}"),
    ]
    ledger = LedgerView(visit.site.engine, visit.site.clock, within=visit.by.organization)
    firsts = [
        first
        for data_type in destination.data_types
        if (first := ledger.first_date_with_data(destination.scope_of(data_type))) is not None
    ]
    if firsts:
        found.append(
            Link(f"Everything since {min(firsts)}", f"?from={min(firsts)}&to={_date(visit, 0)}")
        )
    return tuple(found)


def _read(visit: Visit) -> Range:
    return Range(
        first_date=visit.field("first_date"),
        first_hour=visit.field("first_hour"),
        last_date=visit.field("last_date"),
        last_hour=visit.field("last_hour"),
        types=visit.fields("types"),
        overwrite=visit.field("overwrite") == "yes",
    )


def _asked(destination: Destination, chosen: Range) -> Asked:
    """Return what is asked for; raise `BadRequest` where nothing is chosen of what there is."""
    types: tuple[DataType, ...] = tuple(
        name for name in destination.data_types if name in chosen.types
    )
    if len(destination.data_types) > 1 and not types:
        raise BadRequest("Nothing to export: tick events, merged IDs or both.")
    return Asked(
        destination_id=destination.id,
        first=_moment(chosen.first_date, chosen.first_hour),
        last=_moment(chosen.last_date, chosen.last_hour),
        data_types=types or None,
        overwrite=chosen.overwrite,
    )


def _moment(date: str, hour: str) -> str:
    return f"{date}T{hour}" if hour else date


def _field_of(error: BadRequest) -> str:
    """Return the field that a refusal names; the rules' sentences begin with it."""
    for words, field in (("start date", "first_date"), ("end date", "last_date")):
        if str(error).startswith(f"The {words}"):
            return field
    return "types" if "tick events" in str(error) else "range"


def _date(visit: Visit, days_ago: int) -> str:
    now = to_datetime(visit.site.clock.now_micros())
    return f"{now - timedelta(days=days_ago):%Y-%m-%d}"


PAGES = (
    Page(f"{BASE}/export", _form, "export_manually"),
    Page(f"{BASE}/export/preview", _preview, "export_manually", "POST"),
    Page(f"{BASE}/export", _start, "export_manually", "POST"),
)
