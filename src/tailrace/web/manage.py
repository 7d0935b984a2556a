"""*Manage Export Settings*: automatic exports on and off, what is exported, and deletion."""

from __future__ import annotations

import time

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.app.destinations import open_clients, open_secrets
from tailrace.app.editing import DeletionPlan, Edit, Editor
from tailrace.app.switching import ALL, MissedRange, missed, pause, resume
from tailrace.errors import BadRequest
from tailrace.names import is_name
from tailrace.notify.amounts import counted, run_word
from tailrace.state.delivery import Destination
from tailrace.web.configuration import mail_words, policy_view
from tailrace.web.destination_frame import (
    BASE,
    destination_of,
    frame,
    path_of,
    require_version,
    version_of,
)
from tailrace.web.page import Page, Visit
from tailrace.web.plan_values import TYPES
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.setup_steps import destinations

# A destination with a gap in every day has more stretches than anybody reads.
RANGES_MAX = 50
LEAVE_OUT = "leave-out"


class Automatic(msgspec.Struct, frozen=True):
    """Automatic exports: whether they are on, and what waits or was missed, in words."""

    state: str
    owed: str
    missed: tuple[tuple[str, str, str], ...]
    more: str


class Ending(msgspec.Struct, frozen=True):
    """What a deletion would give up, in words."""

    name: str
    gives_up: tuple[str, ...]


def _show(
    visit: Visit, destination: Destination, problems: Problems, *, refused: str = ""
) -> Response:
    editor = editor_of(visit)
    return page(
        visit,
        "manage.html",
        title="Manage Export Settings",
        status=422 if problems else 200,
        frame=frame(visit, destination),
        destination=destination,
        version=version_of(destination),
        place=f"s3://{destination.bucket}/{destination.prefix}",
        policy=policy_view(visit, destination),
        mails=mail_words(visit, destination),
        automatic=_automatic(visit, destination),
        ending=ending(editor.plan_deletion(destination.id)),
        problems=problems,
        refused=refused,
        failures=f"{path_of(destination)}/failures",
    )


def _form(visit: Visit) -> Response:
    return _show(visit, destination_of(visit), Problems())


def _change(visit: Visit) -> Response:
    """Change what is exported and which objects come with it."""
    destination, problems = destination_of(visit), Problems()
    ticked = visit.fields("content")
    edit = Edit(
        include_events="events" in ticked,
        include_merged_ids="merged-ids" in ticked,
        manifest="manifest" in ticked,
        marker="marker" in ticked,
    )
    try:
        require_version(visit, destination)
        editor_of(visit).edit(destination.id, edit)
    except BadRequest as error:
        problems.add("content", error)
        return _show(visit, destination, problems)
    return _back(destination)


def _pause(visit: Visit) -> Response:
    destination = destination_of(visit)
    pause(destinations(visit), destination.id)
    return _back(destination)


def _resume(visit: Visit) -> Response:
    """Probe the bucket and switch automatic exports on, with or without what was missed."""
    destination = destination_of(visit)
    leave_out = (ALL,) if visit.field(LEAVE_OUT) else ()
    clients = open_clients(visit.site.folder, visit.site.settings)
    found = resume(destinations(visit), clients, destination.id, leave_out)
    if not found.verification.passed:
        cause = found.verification.cause
        said = "Its access could not be verified." if cause is None else cause.sentence
        return _show(visit, found.destination, Problems(), refused=said)
    return _back(destination)


def _delete(visit: Visit) -> Response:
    destination, problems = destination_of(visit), Problems()
    if not is_name(visit.field("confirm"), destination.name):
        said = BadRequest(f"Type the destination's name, {destination.name}, to delete it.")
        problems.add("confirm", said)
        return _show(visit, destination, problems)
    editor_of(visit).delete(destination.id)
    return RedirectResponse(f"/p/{destination.project}/destinations", 303)


def ending(found: DeletionPlan) -> Ending:
    """Return what a deletion gives up, in words."""
    missed = run_word(found.destination.data_types)
    gives_up = [
        f"1 {one} is not exported any more"
        if number == 1
        else f"{number:,} {several} are not exported any more"
        for number, one, several in (
            (found.owed, "run that waits", "runs that wait"),
            (found.missed, f"{missed} that was missed", f"{missed}s that were missed"),
            (
                len(found.manual_exports),
                "manual export that goes on",
                "manual exports that go on",
            ),
        )
        if number
    ]
    return Ending(found.destination.name, tuple(gives_up))


def missed_rows(ranges: tuple[MissedRange, ...]) -> tuple[tuple[str, str, str], ...]:
    """Return the stretches of missed hours in words: which, how many hours, how many lines."""
    return tuple(
        (
            str(one.first) if one.first == one.last else f"{one.first} to {one.last}",
            counted(one.hours, "hour"),
            counted(one.lines, TYPES[one.data_type]),
        )
        for one in ranges[:RANGES_MAX]
    )


def _automatic(visit: Visit, destination: Destination) -> Automatic:
    book = destinations(visit)
    owed = counted(book.owed_runs(destination.id), "run")
    if destination.state != "paused":
        return Automatic(destination.state, owed, (), "")
    ranges = missed(book, destination.id).ranges
    left = len(ranges) - RANGES_MAX
    more = f"and {counted(left, 'more stretch')} of hours" if left > 0 else ""
    return Automatic("paused", owed, missed_rows(ranges), more)


def editor_of(visit: Visit) -> Editor:
    """Return what changes and deletes destinations, for the visitor."""
    site = visit.site
    return Editor(
        destinations(visit),
        open_clients(site.folder, site.settings),
        open_secrets(site.folder),
        site.settings,
        machine=site.machine_clock,
        sleep=time.sleep,
    )


def _back(destination: Destination) -> Response:
    return RedirectResponse(f"{path_of(destination)}/manage", 303)


PAGES = (
    Page(f"{BASE}/manage", _form, "manage_destinations"),
    Page(f"{BASE}/manage", _change, "manage_destinations", "POST"),
    Page(f"{BASE}/manage/pause", _pause, "manage_destinations", "POST"),
    Page(f"{BASE}/manage/resume", _resume, "manage_destinations", "POST"),
    Page(f"{BASE}/manage/delete", _delete, "manage_destinations", "POST"),
)
