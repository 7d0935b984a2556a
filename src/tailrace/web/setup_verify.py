"""Step 3 of a set-up, *Verify access*: the checks as they happen, and what follows from them."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.accounts.roles import allowed
from tailrace.app.destinations import verify_destination
from tailrace.app.policy import place_of, principal_typed
from tailrace.errors import BadRequest
from tailrace.export.policy import Place
from tailrace.export.verify import Told, Verification
from tailrace.hours import Hour
from tailrace.notify.amounts import counted, moment
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Draft
from tailrace.state.ledger_view import LedgerView
from tailrace.state.volumes import volume
from tailrace.web.check_rows import able, checks, report
from tailrace.web.checking import Ended, checked
from tailrace.web.export_data import export_query
from tailrace.web.fix import fix_of
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import page, piece
from tailrace.web.setup_steps import (
    catalog_path,
    destinations,
    draft_of,
    page_exists,
    setting_up,
    step_path,
    steps_of,
)

OVERVIEW = "/p/{p:int}/destinations/{d:int}"
EXPORT = "/p/{p:int}/destinations/{d:int}/export"


class Done(msgspec.Struct, frozen=True):
    """What happens now that access works; `earlier` is empty where nothing is older."""

    words: str
    onward: str
    onward_text: str
    earlier: str
    earlier_href: str


def _verify_page(visit: Visit) -> Response:
    draft = draft_of(visit)
    destination = setting_up(visit).destination_of(draft)
    if destination is None:
        return RedirectResponse(step_path(visit, draft.id, "policy"), 303)
    return _page(visit, draft, destination, None)


def _verify(visit: Visit) -> Response:
    draft = draft_of(visit)
    destination = setting_up(visit).destination_of(draft)
    if destination is None:
        raise BadRequest("The bucket of this set-up is not known yet. Go back one step.")
    site, region = visit.site, visit.field("region") or None

    def probe(told: Told) -> Verification:
        return verify_destination(
            site.folder,
            destinations(visit),
            site.settings,
            destination,
            region=region,
            told=told,
        )

    return checked(
        visit,
        probe,
        whole=lambda ended: _page(visit, draft, destination, ended),
        live=lambda rows: piece(visit, "checks_live.html", rows=rows),
        end=lambda ended: piece(
            visit, "setup_verified.html", **_values(visit, draft, destination, ended)
        ),
    )


def _page(visit: Visit, draft: Draft, destination: Destination, ended: Ended | None) -> Response:
    return page(
        visit,
        "setup_verify.html",
        title="Verify access",
        step_items=steps_of(visit, draft, "verify"),
        here=step_path(visit, draft.id, "verify"),
        runs="by itself" if ended is None and destination.state == "setting_up" else "",
        **_values(visit, draft, destination, ended),
    )


def _values(visit: Visit, draft: Draft, before: Destination, ended: Ended | None) -> dict[str, Any]:
    destination = destinations(visit).get(before.id)
    found = None if ended is None else ended.found
    place = _place(visit, draft, destination)
    arn = visit.site.settings.aws.principal_arn
    wrong = found is not None and not found.passed
    return {
        "rows": checks((), running=False) if ended is None else ended.rows,
        "is_begun": ended is not None,
        "place": _place_words(destination),
        "trouble": None if ended is None else ended.trouble,
        "fix": fix_of(destination, found, place, arn) if found is not None and wrong else None,
        "report": ""
        if ended is None
        else report(_place_words(destination), ended.rows, _now(visit)),
        "able": able(found) if found is not None and found.passed else (),
        "left_behind": () if found is None else found.left_behind,
        "done": None if destination.state == "setting_up" else _done(visit, destination),
        "edit": step_path(visit, draft.id, "policy"),
    }


def _place_words(destination: Destination) -> str:
    return f"s3://{destination.bucket}/{destination.prefix}"


def _now(visit: Visit) -> str:
    return moment(visit.site.clock.now_micros())


def _place(visit: Visit, draft: Draft, destination: Destination) -> Place | None:
    """Return whom a policy lets in where, if that is known."""
    settings = visit.site.settings
    try:
        return place_of(settings, destination, principal_typed(settings, draft.choices) or None)
    except BadRequest:
        return None


def _done(visit: Visit, destination: Destination) -> Done:
    site, project = visit.site, visit.by.in_project
    now = Hour.of_micros(site.clock.now_micros())
    first = destination.from_hour or now
    base = f"/p/{project.id}/destinations/{destination.id}"
    exists = page_exists(visit, OVERVIEW)
    scope = destination.scope_of(destination.data_types[0])
    today = volume(site.engine, scope, first, now).hours
    earlier, query = _earlier(visit, destination, first)
    return Done(
        words=done_words(today, now),
        onward=base if exists else catalog_path(visit),
        onward_text="Go to exports" if exists else "Go to the catalog",
        earlier=earlier,
        earlier_href=f"{base}/export{query}" if page_exists(visit, EXPORT) else "",
    )


def _earlier(visit: Visit, destination: Destination, first: Hour) -> tuple[str, str]:
    """Return what is offered of the days before `first`, and the query that fills the form in.

    Merged IDs of the past go out by themselves, so events alone are offered.
    """
    site = visit.site
    may_export = allowed(visit.by.member.role, "export_manually")
    ledger = LedgerView(site.engine, site.clock, within=visit.by.organization)
    date = ledger.first_date_with_data(destination.project)
    if date is None or not destination.include_events or not may_export:
        return "", ""
    since = Hour.parse(f"{date}T00")
    available = volume(site.engine, destination.project, since, first).hours
    if not available:
        return "", ""
    last = first.previous()
    until = last.date if first == first.day_start() else str(last)
    words = f"Export earlier days too ({counted(available, 'hour')})"
    return words, export_query(date, until, ("events",))


def done_words(closed: int, now: Hour) -> str:
    """Return what goes out when: hours that are closed already, and the one that runs."""
    until = f"{now.of_day:02}:00–{now.next().of_day:02}:00 UTC"
    follows = f"{until} follows shortly after {now.next().of_day:02}:00."
    if closed == 0:
        return f"No hour of today is closed yet. {follows}"
    if closed == 1:
        return f"The one closed hour of today is going out now; {follows}"
    return f"The {closed} closed hours of today are going out now; {follows}"


PAGES = (
    Page("/p/{p:int}/setup/{draft:int}/verify", _verify_page, "manage_destinations"),
    Page("/p/{p:int}/setup/{draft:int}/verify", _verify, "manage_destinations", "POST"),
)
