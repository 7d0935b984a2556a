"""Another name, bucket, region or access of a destination; all but the name is probed first."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import RedirectResponse, Response

from tailrace.app.edit_typed import check_secret, edit_typed, place_wanted
from tailrace.app.editing import Edited
from tailrace.app.policy import place_typed, principal_typed
from tailrace.app.setting_up import choices_of, rules_of
from tailrace.errors import BadRequest, Transient
from tailrace.export.new_bucket import regions
from tailrace.notify.amounts import counted
from tailrace.state.audit import entries
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Choices
from tailrace.state.naming import NAME_CHARACTERS_MAX
from tailrace.web.bucket_form import TEXTS, bucket_values, typed_choices
from tailrace.web.check_rows import checks
from tailrace.web.configuration_values import secret_words
from tailrace.web.destination_frame import (
    BASE,
    destination_of,
    frame,
    path_of,
    require_version,
    version_of,
)
from tailrace.web.fix import fix_of
from tailrace.web.manage import editor_of
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import fragment, page
from tailrace.web.setup_steps import destinations, go_on_path

EDIT = f"{BASE}/edit"
TITLE = "Change name, bucket or access"
# The wish to take the region that the store named.
USE_REGION = "use-region"


def _form(visit: Visit) -> Response:
    destination = destination_of(visit)
    if destination.state == "setting_up":
        return _unfinished(visit, destination)
    return _show(visit, destination, choices_of(destination), Problems())


def _preview(visit: Visit) -> Response:
    """Show the policy of what is being typed, and change nothing."""
    destination = destination_of(visit)
    typed = typed_choices(visit, choices_of(destination))
    empty = [name for name in TEXTS if not getattr(typed, name)]
    shown = _problems(visit, destination, typed).without(*empty, "secret_access_key")
    return fragment(visit, "setup_policy_live.html", **_values(visit, destination, typed, shown))


def _save(visit: Visit) -> Response:
    destination = destination_of(visit)
    if destination.state == "setting_up":
        return _unfinished(visit, destination, status=422)
    try:
        require_version(visit, destination)
    except BadRequest as error:
        now = choices_of(destination)
        return _show(visit, destination, now, Problems(), refused=str(error))
    typed = typed_choices(visit, choices_of(destination))
    if visit.field(USE_REGION):
        typed = msgspec.structs.replace(typed, region=visit.field(USE_REGION))
    problems = _problems(visit, destination, typed)
    if problems:
        return _show(visit, destination, typed, problems)
    try:
        edit = edit_typed(destination, typed, visit.field("secret_access_key"))
        edited = editor_of(visit).edit(destination.id, edit)
    except (BadRequest, Transient) as error:
        return _show(visit, destination, typed, problems, refused=str(error))
    if edited.verification is not None and not edited.verification.passed:
        return _show(visit, destination, typed, problems, edited=edited)
    if edited.begun or edited.left_behind:
        return _moved(visit, edited)
    return RedirectResponse(f"{path_of(destination)}/configuration", 303)


def _unfinished(visit: Visit, destination: Destination, *, status: int = 200) -> Response:
    """Lead to the set-up, which checks access as often as is needed: nothing is exported yet."""
    return page(
        visit,
        "edit_unfinished.html",
        title=TITLE,
        status=status,
        frame=frame(visit, destination),
        go_on=go_on_path(visit, destination),
    )


def _moved(visit: Visit, edited: Edited) -> Response:
    """Tell what a move leaves at the old place."""
    return page(
        visit,
        "edited.html",
        title="Changed",
        frame=frame(visit, edited.destination),
        begun=tuple(f"{one.hour}: {counted(one.files, 'file')}" for one in edited.begun),
        left_behind=edited.left_behind,
    )


def _problems(visit: Visit, destination: Destination, typed: Choices) -> Problems:
    problems = Problems()
    book, own = destinations(visit), destination.id
    problems.check("name", lambda: book.check_name(destination.project, typed.name, but=own))
    secret = visit.field("secret_access_key")
    rules = rules_of(visit.site.settings, typed, lambda: check_secret(destination, typed, secret))
    for field, rule in rules:
        # One without a region was added by a command for a store that needs none.
        if field != "region" or typed.region or destination.region:
            problems.check(field, rule)
    return problems


def _show(
    visit: Visit,
    destination: Destination,
    typed: Choices,
    problems: Problems,
    *,
    refused: str = "",
    edited: Edited | None = None,
) -> Response:
    found = None if edited is None else edited.verification
    settings = visit.site.settings
    # A policy to copy names whom it lets in.
    place = place_typed(settings, typed) if principal_typed(settings, typed) else None
    wanted = place_wanted(destination, typed)
    return page(
        visit,
        "edit.html",
        title=TITLE,
        status=422 if problems or refused or found else 200,
        version=version_of(destination),
        name_max=NAME_CHARACTERS_MAX,
        frame=frame(visit, destination),
        regions=regions(),
        refused=refused,
        probes=None if found is None else checks(found.steps, running=False),
        fix=None if found is None else fix_of(wanted, found, place, settings.aws.principal_arn),
        left_behind=() if found is None else found.left_behind,
        trouble=None,
        **_values(visit, destination, typed, problems),
    )


def _values(
    visit: Visit, destination: Destination, typed: Choices, problems: Problems
) -> dict[str, Any]:
    secret = ""
    if destination.access_key_id and destination.access_key_id == typed.access_key_id:
        trail = entries(visit.site.engine, of=f"destination {destination.id}")
        secret = secret_words(destination.access_key_id, trail)
    path = path_of(destination)
    return bucket_values(visit, typed, problems, secret) | {
        "new_bucket": "",
        "here": f"{path}/edit",
        "back": f"{path}/configuration",
    }


PAGES = (
    Page(EDIT, _form, "manage_destinations"),
    Page(EDIT, _save, "manage_destinations", "POST"),
    Page(f"{EDIT}/preview", _preview, "manage_destinations", "POST"),
)
