"""What a form of a bucket wants to be different of a destination."""

from __future__ import annotations

from typing import Any

import msgspec

from tailrace.app.destinations import Access, with_last_slash
from tailrace.app.editing import Edit
from tailrace.app.setting_up import choices_of, encryption_typed
from tailrace.errors import BadRequest
from tailrace.state.delivery import Destination
from tailrace.state.drafts import Choices


def edit_typed(seen: Destination, typed: Choices, secret: str) -> Edit:
    """Return the edit that makes a destination what is typed; what is typed as it was stays.

    An access that was not chosen says nothing. The secret stays with its key unless another
    `secret` is typed.
    """
    was = choices_of(seen)
    changes: dict[str, Any] = {
        name: getattr(typed, name)
        for name in ("name", "bucket", "prefix", "region")
        if getattr(typed, name) != getattr(was, name)
    }
    if typed.endpoint_url != was.endpoint_url:
        changes["endpoint_url"] = typed.endpoint_url or None
    if encryption_typed(typed) != encryption_typed(was):
        changes |= encryption_typed(typed)
    if secret or _access(typed) != _access(was):
        changes["access"] = _wanted(typed, secret)
    return Edit(**changes)


def place_wanted(seen: Destination, typed: Choices) -> Destination:
    """Return a destination as it would be with what is typed, whose every rule is kept.

    To tell what is missing there: the secret of another key is not in it.
    """
    key, role = typed.access == "key", typed.access == "role"
    return msgspec.structs.replace(
        seen,
        bucket=typed.bucket,
        prefix=with_last_slash(typed.prefix),
        region=typed.region or None,
        endpoint_url=typed.endpoint_url or None,
        access_key_id=typed.access_key_id if key else None,
        role_arn=typed.role_arn if role else None,
        external_id=(typed.external_id or None) if role else None,
        encryption=typed.encryption or None,
        kms_key_arn=typed.kms_key_arn if typed.encryption == "aws:kms" else None,
    )


def check_secret(seen: Destination, typed: Choices, secret: str) -> None:
    """Raise `BadRequest` for an access key whose secret nobody has given."""
    if not secret and typed.access_key_id != seen.access_key_id:
        raise BadRequest("Type the secret that goes with the access key.")


def _wanted(typed: Choices, secret: str) -> Access:
    if typed.access == "role":
        return Access(role_arn=typed.role_arn, external_id=typed.external_id or None)
    if typed.access == "key":
        return Access(access_key_id=typed.access_key_id, secret_access_key=secret)
    return Access()


def _access(choices: Choices) -> tuple[str, ...]:
    if choices.access == "role":
        return (choices.access, choices.role_arn, choices.external_id)
    return (choices.access, choices.access_key_id if choices.access == "key" else "")
