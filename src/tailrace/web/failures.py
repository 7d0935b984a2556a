"""The failure page: one for each cause, what it keeps back, how it is mended, and *Check again*."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from tailrace.accounts.roles import allowed
from tailrace.app.destinations import verify_destination
from tailrace.app.failures import Failure, Failures, failures, try_now, was_met
from tailrace.app.policy import place_of
from tailrace.errors import BadRequest
from tailrace.export.policy import Place
from tailrace.export.verify import Told, Verification
from tailrace.files import Files
from tailrace.notify.amounts import moment
from tailrace.notify.room import Room, RoomGauge
from tailrace.state.database import reading
from tailrace.state.delivery import Destination
from tailrace.state.mails import Mail, Mails
from tailrace.web import failure_words as words
from tailrace.web.check_rows import checks
from tailrace.web.checking import Ended, checked
from tailrace.web.fix import fix, fix_of
from tailrace.web.page import NotThere, Page, Visit
from tailrace.web.rendering import fragment, page, piece
from tailrace.web.setup_steps import (
    catalog_path,
    destinations,
    own_destination,
    page_exists,
)

UNCHANGED = 204
BASE = "/p/{p:int}/destinations/{d:int}"


def _first(visit: Visit) -> Response:
    destination = own_destination(visit)
    found = _failures(visit, destination)
    if found.current:
        return RedirectResponse(_path(visit, destination, found.current[0].name), 303)
    return page(
        visit,
        "no_failure.html",
        title="Nothing is wrong",
        crumbs=_crumbs(visit, destination, "Failures"),
        destination=destination,
        past=_links(visit, destination, found.past),
    )


def _failure(visit: Visit) -> Response:
    return _page(visit, own_destination(visit), None)


def _check(visit: Visit) -> Response:
    site, destination = visit.site, own_destination(visit)
    region = visit.field("region") or None

    def probe(told: Told) -> Verification:
        return verify_destination(
            site.folder,
            destinations(visit),
            site.settings,
            destination,
            region=region,
            told=told,
        )

    while_checked = _values(visit, destination, None)
    return checked(
        visit,
        probe,
        whole=lambda ended: _page(visit, destination, ended),
        live=lambda rows: piece(
            visit, "failure_live.html", **{**while_checked, "probes": rows, "is_begun": True}
        ),
        end=lambda ended: piece(visit, "failure_live.html", **_values(visit, destination, ended)),
    )


def _retry(visit: Visit) -> Response:
    """Try at once what waits because of a cause; one that is mended meanwhile has its page."""
    site, destination = visit.site, own_destination(visit)
    name = str(visit.request.path_params["n"])
    failure = _failures(visit, destination).find(name)
    if failure is None and not was_met(
        site.engine, site.clock, destination.id, name, within=visit.by.organization
    ):
        raise NotThere(f"Destination {destination.id} has no failure {name[:80]}.")
    if failure is not None and failure.ended_micros is None:
        try_now(destinations(visit), destination.id, failure)
    return RedirectResponse(_path(visit, destination, name), 303)


def _live(visit: Visit) -> Response:
    """Tell how many hours still wait once access is back, if that is not what the page shows."""
    destination = own_destination(visit)
    known = _failures(visit, destination)
    if visit.request.query_params.get("waiting") == str(known.owed.hours):
        return Response(status_code=UNCHANGED)
    over = words.over(destination, known.owed)
    return fragment(visit, "failure_over.html", over=over, waiting=known.owed.hours)


def _page(visit: Visit, destination: Destination, ended: Ended | None) -> Response:
    values = _values(visit, destination, ended)
    return page(
        visit,
        "failure.html",
        title=values["head"].title,
        crumbs=_crumbs(visit, destination, values["head"].title),
        **values,
    )


def _values(visit: Visit, before: Destination, ended: Ended | None) -> dict[str, Any]:
    """Return all that the page shows; read anew, since checks may have mended it."""
    site, name = visit.site, str(visit.request.path_params["n"])
    destination = destinations(visit).get(before.id)
    known = _failures(visit, destination)
    failure = known.find(name)
    values = {
        "here": _path(visit, destination, name),
        "trouble": None if ended is None else ended.trouble,
        "left_behind": () if ended is None or ended.found is None else ended.found.left_behind,
        "probes": checks((), running=False) if ended is None else ended.rows,
        "is_begun": ended is not None,
        "others": _links(visit, destination, [one for one in known.current if one.name != name]),
        "edit": f"{_base(visit, destination)}/edit",
        "back": _back(visit, destination),
        "may_check": allowed(visit.by.member.role, "manage_destinations"),
    }
    if failure is None or failure.ended_micros is not None:
        return values | _mended(destination, known, failure, site.clock.now_micros())
    return values | _lasting(visit, destination, known, failure, ended)


def _mended(
    destination: Destination, known: Failures, failure: Failure | None, now_micros: int
) -> dict[str, Any]:
    """Return what is left to say of a failure that is over."""
    head = words.Heading("This is mended", "Mended", "ok", "Nothing meets this cause any more.")
    if failure is not None:
        head = words.heading(failure, known.owed, now_micros)
    return {
        "head": head,
        "is_over": True,
        "runs_by_itself": False,
        "over": words.over(destination, known.owed),
        "waiting": known.owed.hours,
    }


def _lasting(
    visit: Visit,
    destination: Destination,
    known: Failures,
    failure: Failure,
    ended: Ended | None,
) -> dict[str, Any]:
    site = visit.site
    arn = site.settings.aws.principal_arn
    place = _place(visit, destination)
    found = None if ended is None else ended.found
    shown_fix = fix(destination, failure.cause, place, arn)
    if found is not None and not found.passed:
        shown_fix = fix_of(destination, found, place, arn) or shown_fix
    head = words.heading(failure, known.owed, site.clock.now_micros())
    room = _room(visit)
    shown_tries = words.tries(failure)
    mails = _mails(visit, destination, failure)
    may_see_mails = allowed(visit.by.member.role, "see_mails")
    return {
        "head": head,
        "is_over": False,
        # Refused access is what probes tell about; other causes wait for a person's word.
        "runs_by_itself": ended is None and failure.cause.kind == "access",
        "passed": found is not None and found.passed,
        "fix": shown_fix,
        "missing": words.missing_facts(
            destination, arn, known.last_success_micros, shown_fix.missing
        ),
        "safe": words.safe(failure, known.owed, room),
        "at_risk": words.at_risk(room),
        "evidence": failure.cause.evidence,
        "tries": shown_tries,
        "text": words.as_lines(head, failure.cause, shown_tries),
        "mailed": words.mailed(mails, names=may_see_mails),
        "next_mail": words.next_mail(failure, mails),
        "to_try": words.to_try(failure),
        "under_way": failure.under_way,
    }


def _place(visit: Visit, destination: Destination) -> Place | None:
    """Return whom a policy lets in where; an access key does not tell whose it is."""
    try:
        return place_of(visit.site.settings, destination)
    except BadRequest:
        return None


def _room(visit: Visit) -> Room:
    site = visit.site
    gauge = RoomGauge(
        site.engine, Files(), site.folder.path, site.settings.disk, site.machine_clock
    )
    with reading(site.engine) as connection:
        return gauge.room(connection)


def _mails(visit: Visit, destination: Destination, failure: Failure) -> list[Mail]:
    if failure.outage is None and failure.cause.kind != "conflict":
        return []
    found = Mails(visit.site.engine, visit.site.clock).newest(destination_id=destination.id)
    if failure.outage is not None:
        return [one for one in found if one.outage_id == failure.outage.id]
    return [
        one for one in found if one.kind == "conflict" and one.made_micros >= failure.began_micros
    ]


def _failures(visit: Visit, destination: Destination) -> Failures:
    site = visit.site
    return failures(site.engine, site.clock, destination.id, within=visit.by.organization)


def _links(
    visit: Visit, destination: Destination, found: Sequence[Failure]
) -> tuple[tuple[str, str, str], ...]:
    """Return failures as title, address and when they began."""
    return tuple(
        (
            one.cause.title or one.cause.code,
            _path(visit, destination, one.name),
            f"since {moment(one.began_micros)}",
        )
        for one in found
    )


def _crumbs(visit: Visit, destination: Destination, last: str) -> tuple[tuple[str, str], ...]:
    list_path = f"/p/{visit.by.in_project.id}/destinations"
    first = (
        ("Destinations", list_path)
        if page_exists(visit, "/p/{p:int}/destinations")
        else ("Catalog", catalog_path(visit))
    )
    overview = _base(visit, destination) if page_exists(visit, BASE) else ""
    return (first, (destination.name, overview), (last, ""))


def _back(visit: Visit, destination: Destination) -> str:
    return _base(visit, destination) if page_exists(visit, BASE) else catalog_path(visit)


def _base(visit: Visit, destination: Destination) -> str:
    return f"/p/{visit.by.in_project.id}/destinations/{destination.id}"


def _path(visit: Visit, destination: Destination, name: str) -> str:
    return f"{_base(visit, destination)}/failures/{name}"


PAGES = (
    Page(f"{BASE}/failures", _first, "see"),
    Page(f"{BASE}/failures/{{n}}", _failure, "see"),
    Page(f"{BASE}/failures/{{n}}/live", _live, "see"),
    Page(f"{BASE}/failures/{{n}}", _check, "manage_destinations", "POST"),
    Page(f"{BASE}/failures/{{n}}/retry", _retry, "manage_destinations", "POST"),
)
