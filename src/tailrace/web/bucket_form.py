"""The form of a bucket and of who is let in, with its policy: for a set-up and for a change."""

from __future__ import annotations

from typing import Any, get_args

from tailrace.app.policy import BLANK_BUCKET, place_typed, principal_typed
from tailrace.export.key_policy import key_lines
from tailrace.export.new_bucket import create_bucket_line
from tailrace.export.policy import (
    GRANTS,
    KEY_GRANTS,
    as_cli_lines,
    as_json,
    bucket_policy,
    key_statement,
)
from tailrace.hours import Hour
from tailrace.notify.admin_letters import set_up_letter
from tailrace.seal.names import NO_NUMBER, file_key
from tailrace.state.drafts import AccessKind, Choices, EncryptionKind
from tailrace.web.fix import to_send
from tailrace.web.page import Visit
from tailrace.web.policy_pieces import with_blanks
from tailrace.web.problems import Problems

# Every text field of the form; the secret is read apart, and never written back.
TEXTS = (
    "bucket",
    "region",
    "prefix",
    "endpoint_url",
    "principal",
    "access_key_id",
    "role_arn",
    "external_id",
    "kms_key_arn",
)
# What may be chosen, in the words of the form.
ENCRYPTIONS: tuple[tuple[EncryptionKind, str], ...] = (
    ("", "The bucket's default"),
    ("AES256", "SSE-S3, with keys of the store"),
    ("aws:kms", "SSE-KMS, with a KMS key"),
)
DEFAULT_REGION = "us-east-1"


def typed_choices(visit: Visit, before: Choices) -> Choices:
    """Return what is typed, with the name and the data that were chosen `before`."""
    kinds: dict[str, AccessKind] = {kind: kind for kind in get_args(AccessKind)}
    encryptions: dict[str, EncryptionKind] = {kind: kind for kind in get_args(EncryptionKind)}
    texts: dict[str, Any] = {name: visit.field(name).strip() for name in TEXTS}
    return Choices(
        name=name_typed(visit, before.name),
        include_events=before.include_events,
        include_merged_ids=before.include_merged_ids,
        access=kinds.get(visit.field("access"), "operator"),
        encryption=encryptions.get(visit.field("encryption"), ""),
        **texts,
    )


def name_typed(visit: Visit, before: str) -> str:
    """Return the name that is typed, or the one of `before` where the form has no field for it."""
    return visit.field("name").strip() if visit.fields("name") else before


def bucket_values(
    visit: Visit, typed: Choices, problems: Problems, secret_kept: str
) -> dict[str, Any]:
    """Return what the form shows; `secret_kept` is what is known of a kept secret."""
    settings = visit.site.settings
    at = place_typed(settings, typed)
    region = at.region or DEFAULT_REGION
    new_bucket = create_bucket_line(at.bucket, region, at.endpoint_url)
    is_template = at.bucket == BLANK_BUCKET
    return {
        "typed": typed,
        "problems": problems,
        "operators": settings.aws.principal_arn,
        "secret_kept": secret_kept,
        "first_file": f"s3://{at.bucket}/{_first_key(visit, typed, at.prefix)}",
        "is_template": is_template,
        "is_wrong": "bucket" in problems,
        "policy": with_blanks(as_json(bucket_policy(at))),
        "cli": with_blanks(as_cli_lines(at)),
        "key_policy": with_blanks(as_json(key_statement(at))) if at.kms_key else "",
        "key_cli": with_blanks(key_lines(at)) if at.kms_key else "",
        "encryptions": ENCRYPTIONS,
        "new_bucket": with_blanks(new_bucket),
        "grants": GRANTS,
        "key_grants": KEY_GRANTS if at.kms_key else (),
        "letter": None if is_template else to_send(set_up_letter(at, new_bucket)),
        "names_principal": bool(principal_typed(settings, typed)),
    }


def _first_key(visit: Visit, typed: Choices, prefix: str) -> str:
    project = visit.by.in_project
    hour = Hour.of_micros(visit.site.clock.now_micros())
    if typed.include_events:
        return file_key(prefix, project.id, hour, 1)
    return file_key(prefix, -project.organization, hour, NO_NUMBER)
