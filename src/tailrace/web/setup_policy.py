"""Step 2 of a set-up, *Set Up Bucket Policy*: the bucket, who is let in, and the policy for it.

The policy follows what is typed; without script *Generate Bucket Policy* does the same.
"""

from __future__ import annotations

from typing import Any, get_args

from starlette.responses import RedirectResponse, Response

from tailrace.app.policy import BLANK_BUCKET, place_typed, principal_typed
from tailrace.errors import BadRequest
from tailrace.export.new_bucket import create_bucket_line, regions
from tailrace.export.policy import GRANTS, as_cli_lines, as_json, bucket_policy
from tailrace.hours import Hour
from tailrace.notify.admin_letters import set_up_letter
from tailrace.notify.amounts import moment
from tailrace.seal.names import NO_NUMBER, file_key
from tailrace.state.delivery import Destination
from tailrace.state.drafts import AccessKind, Choices, Draft
from tailrace.web.fix import to_send
from tailrace.web.page import Page, Visit
from tailrace.web.policy_pieces import with_blanks
from tailrace.web.problems import Problems
from tailrace.web.rendering import fragment, page
from tailrace.web.setup_steps import draft_of, setting_up, step_path, steps_of

# Every text field of the form; the secret is read apart, and never written back.
_TEXTS = (
    "bucket",
    "region",
    "prefix",
    "endpoint_url",
    "principal",
    "access_key_id",
    "role_arn",
    "external_id",
)
DEFAULT_REGION = "us-east-1"


def _form(visit: Visit) -> Response:
    draft = draft_of(visit)
    return _show(visit, draft, draft.choices, Problems())


def _preview(visit: Visit) -> Response:
    """Show the policy of what is being typed, and keep nothing."""
    draft = draft_of(visit)
    typed = _typed(visit, draft)
    problems = _problems(visit, draft, typed)
    # What nobody has typed yet is not wrong yet.
    empty = [name for name in _TEXTS if not getattr(typed, name)]
    shown = problems.without(*empty, "secret_access_key")
    return fragment(visit, "setup_policy_live.html", **_values(visit, draft, typed, shown))


def _save(visit: Visit) -> Response:
    draft = draft_of(visit)
    set_up, typed = setting_up(visit), _typed(visit, draft)
    draft = set_up.keep(draft.id, typed, visit.field("secret_access_key"))
    problems = _problems(visit, draft, typed)
    if visit.field("do") == "generate":
        shown = problems.without("secret_access_key", "access_key_id")
        if shown:
            return _show(visit, draft, typed, shown)
        return RedirectResponse(step_path(visit, draft.id, "policy"), 303)
    if not problems:
        try:
            set_up.save(draft)
        except BadRequest as error:
            problems.add("endpoint_url" if "endpoint" in str(error) else "bucket", error)
    if problems:
        return _show(visit, draft, typed, problems)
    return RedirectResponse(step_path(visit, draft.id, "verify"), 303)


def _typed(visit: Visit, draft: Draft) -> Choices:
    kinds: dict[str, AccessKind] = {kind: kind for kind in get_args(AccessKind)}
    texts = {name: visit.field(name).strip() for name in _TEXTS}
    return Choices(
        include_events=draft.choices.include_events,
        include_merged_ids=draft.choices.include_merged_ids,
        access=kinds.get(visit.field("access"), "operator"),
        **texts,
    )


def _problems(visit: Visit, draft: Draft, typed: Choices) -> Problems:
    problems = Problems()
    for field, rule in setting_up(visit).rules(draft, typed):
        problems.check(field, rule)
    return problems


def _show(visit: Visit, draft: Draft, typed: Choices, problems: Problems) -> Response:
    return page(
        visit,
        "setup_policy.html",
        title="Set Up Bucket Policy",
        status=422 if problems else 200,
        step_items=steps_of(visit, draft, "policy"),
        regions=regions(),
        **_values(visit, draft, typed, problems),
    )


def _values(visit: Visit, draft: Draft, typed: Choices, problems: Problems) -> dict[str, Any]:
    settings = visit.site.settings
    at = place_typed(settings, typed)
    region = at.region or DEFAULT_REGION
    new_bucket = create_bucket_line(at.bucket, region, at.endpoint_url)
    is_template = at.bucket == BLANK_BUCKET
    return {
        "typed": typed,
        "problems": problems,
        "operators": settings.aws.principal_arn,
        "secret_kept": _secret_words(draft, setting_up(visit).destination_of(draft), typed),
        "first_file": f"s3://{at.bucket}/{_first_key(visit, typed, at.prefix)}",
        "is_template": is_template,
        "is_wrong": "bucket" in problems,
        "policy": with_blanks(as_json(bucket_policy(at))),
        "cli": with_blanks(as_cli_lines(at)),
        "new_bucket": with_blanks(new_bucket),
        "grants": GRANTS,
        "letter": None if is_template else to_send(set_up_letter(at, new_bucket)),
        "names_principal": bool(principal_typed(settings, typed)),
        "here": step_path(visit, draft.id, "policy"),
        "back": step_path(visit, draft.id, "data"),
        "discard": f"/p/{visit.by.in_project.id}/setup/{draft.id}/discard",
    }


def _first_key(visit: Visit, typed: Choices, prefix: str) -> str:
    project = visit.by.in_project
    hour = Hour.of_micros(visit.site.clock.now_micros())
    if typed.include_events:
        return file_key(prefix, project.id, hour, 1)
    return file_key(prefix, -project.organization, hour, NO_NUMBER)


def _secret_words(draft: Draft, seen: Destination | None, typed: Choices) -> str:
    """Return what is known of the kept secret: its key, when it was typed and by whom."""
    of_draft = draft.secret_encrypted is not None
    key = draft.choices.access_key_id if of_draft else seen.access_key_id if seen else ""
    if not key or key != typed.access_key_id:
        return ""
    shown = key if len(key) <= 8 else f"{key[:4]}…{key[-4:]}"
    if draft.secret_set_micros is None:
        return f"{shown}: its secret is kept"
    return f"{shown}, set {moment(draft.secret_set_micros)} by {draft.secret_set_by}"


PAGES = (
    Page("/p/{p:int}/setup/{draft:int}/policy", _form, "manage_destinations"),
    Page("/p/{p:int}/setup/{draft:int}/policy", _save, "manage_destinations", "POST"),
    Page("/p/{p:int}/setup/{draft:int}/policy/preview", _preview, "manage_destinations", "POST"),
)
