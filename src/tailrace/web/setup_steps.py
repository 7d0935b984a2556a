"""What the three steps of a set-up share: the set-up itself, the bar of steps, and who may."""

from __future__ import annotations

from typing import Literal

import msgspec

from tailrace.app.destinations import open_secrets
from tailrace.app.setting_up import SettingUp
from tailrace.errors import BadRequest
from tailrace.state.delivery import Destination
from tailrace.state.destinations import Destinations
from tailrace.state.drafts import Choices, Draft, Drafts
from tailrace.web.page import NotThere, Visit
from tailrace.web.problems import Problems

StepName = Literal["data", "policy", "verify"]

_NAMES: dict[StepName, str] = {
    "data": "Choose data",
    "policy": "Set Up Bucket Policy",
    "verify": "Verify access",
}
DATA_NAMES = {"events": "Events", "merged-ids": "Merged Amplitude IDs"}


def setting_up(visit: Visit) -> SettingUp:
    """Return the set-ups of the visit's project, which the visitor changes."""
    site, by = visit.site, visit.by
    return SettingUp(
        by.in_project.id,
        Drafts(site.engine, site.clock, by=by.name, within=by.organization),
        destinations(visit),
        open_secrets(site.folder),
        site.settings,
        machine=site.machine_clock,
    )


def destinations(visit: Visit) -> Destinations:
    """Return the destinations, which the visitor changes."""
    site, by = visit.site, visit.by
    return Destinations(site.engine, site.clock, by=by.name, within=by.organization)


def draft_of(visit: Visit) -> Draft:
    """Return the set-up of the address; raise `NotThere` where the project has none such."""
    try:
        return setting_up(visit).get(visit.number("draft"))
    except BadRequest as error:
        raise NotThere(str(error)) from error


def named(visit: Visit, draft: Draft) -> Choices:
    """Return what was chosen, with the name that is offered where none was."""
    return msgspec.structs.replace(draft.choices, name=setting_up(visit).name_of(draft))


def data_problems(visit: Visit, draft: Draft | None, chosen: Choices) -> Problems:
    """Return what is wrong with what is chosen in the first step."""
    problems = Problems()
    for field, rule in setting_up(visit).data_rules(draft, chosen):
        problems.check(field, rule)
    return problems


def own_destination(visit: Visit) -> Destination:
    """Return the destination of the address (`{d}`) if it is the project's, or raise `NotThere`."""
    number = visit.number("d")
    try:
        found = destinations(visit).get(number)
    except BadRequest as error:
        raise _no_destination(number) from error
    if found.project != visit.by.in_project.id:
        raise _no_destination(number)
    return found


def steps_of(
    visit: Visit, draft: Draft | None, current: StepName
) -> list[tuple[str, str, str, str]]:
    """Return the bar of steps: name, address, state, and what was chosen there."""
    names = list(_NAMES)
    place = names.index(current)
    found = []
    for number, name in enumerate(names):
        state = "done" if number < place else "current" if number == place else "later"
        href = step_path(visit, draft.id, name) if draft else ""
        said = _said(draft.choices, name) if draft and number < place else ""
        found.append((_NAMES[name], href, state, said))
    return found


def step_path(visit: Visit, draft: int, name: StepName) -> str:
    """Return the address of a step."""
    return f"/p/{visit.by.in_project.id}/setup/{draft}/{name}"


def go_on_path(visit: Visit, destination: Destination) -> str:
    """Return the address that begins, or finds, the set-up of a destination by its form."""
    return f"/p/{visit.by.in_project.id}/catalog/set-up/{destination.id}"


def catalog_path(visit: Visit) -> str:
    """Return the address of the catalog's destinations."""
    return f"/p/{visit.by.in_project.id}/catalog/destinations"


def page_exists(visit: Visit, template: str) -> bool:
    """Tell whether this installation has a page under a route's template."""
    return any(getattr(route, "path", "") == template for route in visit.request.app.routes)


def data_words(choices: Choices) -> str:
    """Return which data was chosen, in a few words."""
    words = [
        DATA_NAMES["events"] if choices.include_events else "",
        DATA_NAMES["merged-ids"] if choices.include_merged_ids else "",
    ]
    return " and ".join(word for word in words if word)


def place_words(choices: Choices) -> str:
    """Return where it goes, as far as it is known."""
    return f"s3://{choices.bucket}/{choices.prefix}" if choices.bucket else ""


def _said(choices: Choices, name: StepName) -> str:
    if name != "data":
        return place_words(choices)
    return ": ".join(filter(None, (choices.name, data_words(choices))))


def _no_destination(number: int) -> NotThere:
    return NotThere(f"There is no destination {number} in this project.")
