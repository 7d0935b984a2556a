"""The page of one hour of a destination: files, tries, and how its events add up."""

from __future__ import annotations

from starlette.responses import Response

from tailrace.accounts.roles import allowed
from tailrace.app.runs import hour_detail
from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.web.destination_frame import BASE, destination_of, frame
from tailrace.web.export_data import export_query
from tailrace.web.heatmap import when
from tailrace.web.hour_values import again, headline, run_views
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.rendering import page


def _hour(visit: Visit) -> Response:
    site, destination, hour = visit.site, destination_of(visit), hour_of(visit)
    found = hour_detail(site.engine, site.clock, hour, destination.id, within=visit.by.organization)
    around, now = frame(visit, destination), site.clock.now_micros()
    export = again(destination, found, hour, now) if around.export_href else None
    return page(
        visit,
        "hour.html",
        title=when(hour),
        frame=around,
        hour=when(hour),
        headline=headline(destination, found, hour, now),
        again=export,
        again_href=""
        if export is None
        else around.export_href + export_query(str(hour), str(hour), export.types),
        shown=run_views(destination, found),
        inside=f"{around.path}/hours/{hour}" if allowed(visit.by.member.role, "see_events") else "",
        before=f"{around.path}/hours/{hour.plus(-1)}",
        after=f"{around.path}/hours/{hour.next()}",
    )


def hour_of(visit: Visit) -> Hour:
    """Return the hour of an address with `{hour}`; raise `NotThere` for what is none.

    One that lies more than a day ahead is none: nothing will be known of it for long.
    """
    try:
        hour = Hour.parse(visit.request.path_params["hour"])
    except BadRequest as error:
        raise NotThere(str(error)) from error
    if not Hour(0) < hour <= Hour.of_micros(visit.site.clock.now_micros()).plus(24):
        raise NotThere(f"There is no page of the hour {hour}.")
    return hour


PAGES = (Page(f"{BASE}/hours/{{hour}}", _hour, "see"),)
