"""A form of a set-up that was changed since it was opened: what is kept, and what is typed."""

from __future__ import annotations

import msgspec

from tailrace.app.setting_up import meant
from tailrace.state.drafts import Choices
from tailrace.web.bucket_form import ENCRYPTIONS

# What the forms call each choice.
LABELS = {
    "name": "Name of the destination",
    "include_events": "Events",
    "include_merged_ids": "Merged Amplitude IDs",
    "bucket": "Bucket name",
    "region": "Region",
    "prefix": "Prefix",
    "encryption": "Encryption",
    "kms_key_arn": "KMS key",
    "endpoint_url": "Endpoint URL",
    "access": "Access",
    "role_arn": "Role",
    "external_id": "External ID",
    "access_key_id": "Access key ID",
    "principal": "Who is let in",
}
_ACCESS = {
    "operator": "tailrace's own principal",
    "role": "A role that tailrace assumes",
    "key": "An access key",
}


class Stale(msgspec.Struct, frozen=True):
    """What the form is headed with: why nothing was taken, and what is `kept` and typed otherwise.

    `secret` is true where a secret was typed, which no page gives back.
    """

    sentence: str
    kept: tuple[tuple[str, str], ...]
    secret: bool


def stale(sentence: str, kept: Choices, typed: Choices, secret: str = "") -> Stale:
    """Return what is said of a form that was refused; `kept` is how the set-up is now.

    A `secret` beside another access than a key is none that anybody typed: browsers fill such in.
    """
    now, wanted = meant(kept), meant(typed)
    rows = tuple(
        (label, _words(now, name))
        for name, label in LABELS.items()
        if getattr(now, name) != getattr(wanted, name)
    )
    return Stale(sentence, rows, secret=bool(secret) and typed.access == "key")


def _words(kept: Choices, name: str) -> str:
    value: str | bool = getattr(kept, name)
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == "encryption":
        return dict[str, str](ENCRYPTIONS)[value]
    if name == "access":
        return _ACCESS[value]
    return value or "empty"
