"""The page of one hour of a destination: files, tries, and how its events add up."""

from __future__ import annotations

from starlette.responses import Response

from tailrace.app.runs import hour_detail
from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.web.destination_frame import BASE, destination_of, frame
from tailrace.web.heatmap import when
from tailrace.web.hour_values import headline, run_views
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.rendering import page


def _hour(visit: Visit) -> Response:
    destination = destination_of(visit)
    try:
        hour = Hour.parse(visit.request.path_params["hour"])
    except BadRequest as error:
        raise NotThere(str(error)) from error
    site = visit.site
    found = hour_detail(site.engine, site.clock, hour, destination.id, within=visit.by.organization)
    around = frame(visit, destination)
    return page(
        visit,
        "hour.html",
        title=when(hour),
        frame=around,
        hour=when(hour),
        headline=headline(destination, found, hour, site.clock.now_micros()),
        shown=run_views(destination, found),
        before=f"{around.path}/hours/{hour.plus(-1)}",
        after=f"{around.path}/hours/{hour.next()}",
    )


PAGES = (Page(f"{BASE}/hours/{{hour}}", _hour, "see"),)
