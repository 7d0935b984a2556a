"""Step 1 of a set-up, *Choose data*: the name, what is exported and what it looks like."""

from __future__ import annotations

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.app.samples import Sample, sample
from tailrace.app.setting_up import data_of
from tailrace.errors import BadRequest, ChangedMeanwhile
from tailrace.hours import Hour
from tailrace.notify.amounts import counted, size
from tailrace.state.drafts import Choices, Draft
from tailrace.state.naming import NAME_CHARACTERS_MAX
from tailrace.web.bucket_form import name_typed
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import page
from tailrace.web.setup_steps import (
    data_problems,
    draft_of,
    named,
    setting_up,
    step_path,
    steps_of,
)
from tailrace.web.stale_form import Stale, stale


class DataChoice(msgspec.Struct, frozen=True):
    """One data type that can be exported. `line` is one of a real file, or empty."""

    name: str
    label: str
    chosen: bool
    file: str
    rate: str
    line: str


def data_choice(name: str, label: str, found: Sample, *, what: str, chosen: bool) -> DataChoice:
    """Return what is said of a data type; `what` is one line of it."""
    day = found.day
    if day.lines:
        rate = f"{counted(day.lines, what)} in the last 24 hours, {size(day.size_bytes)}"
    elif day.hours:
        rate = f"no {what} in the last 24 hours"
    else:
        rate = "no hour of the last 24 is closed yet"
    return DataChoice(name, label, chosen, found.name, rate, found.line)


def _new(visit: Visit) -> Response:
    chosen = Choices(name=setting_up(visit).name_of(None))
    return _show(visit, None, chosen, Problems())


def _begin(visit: Visit) -> Response:
    chosen = _chosen(visit, None)
    problems = data_problems(visit, None, chosen)
    if not problems:
        try:
            draft = setting_up(visit).begin(chosen)
            return RedirectResponse(step_path(visit, draft.id, "policy"), 303)
        except BadRequest as error:
            problems.add("data", error)
    return _show(visit, None, chosen, problems)


def _again(visit: Visit) -> Response:
    draft = draft_of(visit)
    chosen = named(visit, draft)
    # Another destination may have been given the name since it was chosen here.
    return _show(visit, draft, chosen, data_problems(visit, draft, chosen), draft.version)


def _choose(visit: Visit) -> Response:
    draft, seen = draft_of(visit), visit.field("version")
    chosen = _chosen(visit, draft)
    problems = data_problems(visit, draft, chosen)
    if not problems:
        try:
            setting_up(visit).choose_data(draft.id, chosen, seen=seen)
            return RedirectResponse(step_path(visit, draft.id, "policy"), 303)
        except ChangedMeanwhile as error:
            return _refused(visit, chosen, str(error))
        except BadRequest as error:
            problems.add("data", error)
    # What was not compared yet is compared once the form is right.
    return _show(visit, draft, chosen, problems, seen)


def _refused(visit: Visit, chosen: Choices, sentence: str) -> Response:
    """Show what was chosen once more, and what is kept now."""
    now = draft_of(visit)
    kept = named(visit, now)
    typed = msgspec.structs.replace(kept, **data_of(chosen))
    return _show(visit, now, chosen, Problems(), now.version, stale(sentence, kept, typed))


def _chosen(visit: Visit, draft: Draft | None) -> Choices:
    ticked = visit.fields("data")
    return Choices(
        name=name_typed(visit, setting_up(visit).name_of(draft)),
        include_events="events" in ticked,
        include_merged_ids="merged-ids" in ticked,
    )


def _show(
    visit: Visit,
    draft: Draft | None,
    chosen: Choices,
    problems: Problems,
    version: str = "",
    refused: Stale | None = None,
) -> Response:
    site, project = visit.site, visit.by.in_project
    now = Hour.of_micros(site.clock.now_micros())
    events = sample(site.engine, site.folder, project.id, now)
    merged = sample(site.engine, site.folder, -project.organization, now)
    return page(
        visit,
        "setup_data.html",
        title="Choose data",
        status=422 if (problems and visit.form) or refused else 200,
        version=version,
        stale=refused,
        step_items=steps_of(visit, draft, "data"),
        name=chosen.name,
        name_max=NAME_CHARACTERS_MAX,
        problems=problems,
        choices=(
            data_choice(
                "events",
                "Export events ingested today and moving forward",
                events,
                what="event",
                chosen=chosen.include_events,
            ),
            data_choice(
                "merged-ids",
                "Export all merged Amplitude IDs",
                merged,
                what="merged ID",
                chosen=chosen.include_merged_ids,
            ),
        ),
    )


PAGES = (
    Page("/p/{p:int}/catalog/amazon-s3/new", _new, "manage_destinations"),
    Page("/p/{p:int}/catalog/amazon-s3/new", _begin, "manage_destinations", "POST"),
    Page("/p/{p:int}/setup/{draft:int}/data", _again, "manage_destinations"),
    Page("/p/{p:int}/setup/{draft:int}/data", _choose, "manage_destinations", "POST"),
)
