"""Step 2 of a set-up, *Set Up Bucket Policy*: the bucket, who is let in, and the policy for it.

The policy follows what is typed; without script *Generate Bucket Policy* does the same.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from tailrace.errors import BadRequest, ChangedMeanwhile
from tailrace.export.new_bucket import regions
from tailrace.notify.amounts import moment
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Choices, Draft
from tailrace.web.bucket_form import TEXTS, bucket_values, typed_choices
from tailrace.web.configuration_values import shortened
from tailrace.web.page import Page, Visit
from tailrace.web.problems import Problems
from tailrace.web.rendering import fragment, page
from tailrace.web.setup_steps import (
    data_problems,
    draft_of,
    named,
    setting_up,
    step_path,
    steps_of,
)
from tailrace.web.stale_form import Stale, stale


def _form(visit: Visit) -> Response:
    draft = draft_of(visit)
    return _show(visit, draft, draft.choices, Problems())


def _preview(visit: Visit) -> Response:
    """Show the policy of what is being typed, and keep nothing."""
    draft = draft_of(visit)
    typed = typed_choices(visit, draft.choices)
    problems = _problems(visit, draft, typed)
    # What nobody has typed yet is not wrong yet.
    empty = [name for name in TEXTS if not getattr(typed, name)]
    shown = problems.without(*empty, "secret_access_key")
    return fragment(visit, "setup_policy_live.html", **_values(visit, draft, typed, shown))


def _save(visit: Visit) -> Response:
    draft = draft_of(visit)
    set_up, typed = setting_up(visit), typed_choices(visit, draft.choices)
    secret = visit.field("secret_access_key")
    try:
        draft = set_up.keep(draft.id, typed, secret, seen=visit.field("version"))
    except ChangedMeanwhile as error:
        return _refused(visit, str(error), secret)
    typed = draft.choices
    problems = _problems(visit, draft, typed)
    if visit.field("do") == "generate":
        shown = problems.without("secret_access_key", "access_key_id")
        if shown:
            return _show(visit, draft, typed, shown)
        return RedirectResponse(step_path(visit, draft.id, "policy"), 303)
    # Another press may have made the destination by now, which has the name.
    now = draft_of(visit)
    if not problems and "name" in data_problems(visit, now, named(visit, now)):
        # Another destination has the name now: the first step says so beside its field.
        return RedirectResponse(step_path(visit, draft.id, "data"), 303)
    if not problems:
        try:
            set_up.save(draft)
        except ChangedMeanwhile as error:
            return _refused(visit, str(error), secret)
        except BadRequest as error:
            problems.add("endpoint_url" if "endpoint" in str(error) else "bucket", error)
    if problems:
        return _show(visit, draft, typed, problems)
    return RedirectResponse(step_path(visit, draft.id, "verify"), 303)


def _refused(visit: Visit, sentence: str, secret: str) -> Response:
    """Show what was typed once more, and what is kept now."""
    now = draft_of(visit)
    typed = typed_choices(visit, now.choices)
    lost = "" if setting_up(visit).keeps(now, typed, secret) else secret
    return _show(visit, now, typed, Problems(), stale(sentence, now.choices, typed, lost))


def _problems(visit: Visit, draft: Draft, typed: Choices) -> Problems:
    problems = Problems()
    for field, rule in setting_up(visit).rules(draft, typed):
        problems.check(field, rule)
    return problems


def _show(
    visit: Visit,
    draft: Draft,
    typed: Choices,
    problems: Problems,
    refused: Stale | None = None,
) -> Response:
    return page(
        visit,
        "setup_policy.html",
        title="Set Up Bucket Policy",
        status=422 if problems or refused else 200,
        version=draft.version,
        stale=refused,
        step_items=steps_of(visit, draft, "policy"),
        regions=regions(),
        **_values(visit, draft, typed, problems),
    )


def _values(visit: Visit, draft: Draft, typed: Choices, problems: Problems) -> dict[str, Any]:
    secret = _secret_words(draft, setting_up(visit).destination_of(draft), typed)
    return bucket_values(visit, typed, problems, secret) | {
        "here": step_path(visit, draft.id, "policy"),
        "back": step_path(visit, draft.id, "data"),
        "discard": f"/p/{visit.by.in_project.id}/setup/{draft.id}/discard",
    }


def _secret_words(draft: Draft, seen: Destination | None, typed: Choices) -> str:
    """Return what is known of the kept secret: its key, when it was typed and by whom."""
    of_draft = draft.secret_encrypted is not None
    key = draft.choices.access_key_id if of_draft else seen.access_key_id if seen else ""
    if not key or key != typed.access_key_id:
        return ""
    shown = shortened(key)
    if draft.secret_set_micros is None:
        return f"{shown}: its secret is kept"
    return f"{shown}, set {moment(draft.secret_set_micros)} by {draft.secret_set_by}"


PAGES = (
    Page("/p/{p:int}/setup/{draft:int}/policy", _form, "manage_destinations"),
    Page("/p/{p:int}/setup/{draft:int}/policy", _save, "manage_destinations", "POST"),
    Page("/p/{p:int}/setup/{draft:int}/policy/preview", _preview, "manage_destinations", "POST"),
)
