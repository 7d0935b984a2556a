"""View values of a destination's configuration: what goes where, and how it is let in. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tailrace.export.encryption import encryption_words
from tailrace.notify.amounts import moment
from tailrace.state.audit import AuditEntry
from tailrace.state.delivery import Capabilities, DataType, Destination
from tailrace.state.drafts import AccessKind
from tailrace.state.editing import Place

Facts = tuple[tuple[str, str], ...]

DATA_WORDS: dict[DataType, str] = {"events": "events", "merged-ids": "merged Amplitude IDs"}
_ACCESS: dict[AccessKind, str] = {
    "operator": "by the bucket's policy, as tailrace's own principal",
    "role": "by a role that tailrace assumes",
    "key": "by an access key",
}
# What the trail calls a stored secret that was changed.
_KEPT = "secret_encrypted"
# Of a key that is longer, the middle is left out.
_KEY_SHOWN_MAX = 8


def content_facts(destination: Destination) -> Facts:
    """Return what is exported, and from which hour on."""
    rows = [
        ("Data", " and ".join(DATA_WORDS[one] for one in destination.data_types)),
        ("First hour", str(destination.from_hour or "chosen once access is verified")),
    ]
    if destination.until_hour is not None:
        rows.append(("Last hour", str(destination.until_hour.previous())))
    rows += [
        ("Manifest", "beside each hour" if destination.manifest else "off"),
        ("Marker", "once an hour is complete" if destination.marker else "off"),
    ]
    return tuple(rows)


def place_facts(destination: Destination, earlier: Sequence[Place]) -> Facts:
    """Return where it goes, what that store can do, and where it went before."""
    rows = [
        ("Bucket", destination.bucket),
        ("Region", destination.region or "none given"),
        ("Prefix", destination.prefix or "none"),
        ("Store", destination.endpoint_url or "Amazon S3"),
        ("Encryption", encryption_words(destination.encryption, destination.kms_key_arn)),
        ("Writes", _capabilities(destination.capabilities)),
    ]
    rows += [
        ("Before", f"s3://{one.bucket}/{one.prefix}, until {moment(one.until_micros)}")
        for one in earlier
    ]
    return tuple(rows)


def access_facts(
    destination: Destination, access: AccessKind, principal_arn: str, secret: str
) -> Facts:
    """Return how it is let in; `secret` is what is known of a kept secret, never the secret."""
    rows = [("Let in", _ACCESS[access])]
    if access == "operator":
        rows.append(("Principal", principal_arn or "the role or user that tailrace runs as"))
    if destination.role_arn is not None:
        rows.append(("Role", destination.role_arn))
        rows.append(("External ID", destination.external_id or "none"))
    if destination.access_key_id is not None:
        rows.append(("Access key", secret))
    return tuple(rows)


def secret_words(key: str, entries: Sequence[AuditEntry]) -> str:
    """Return `AKIA…7Q2F, set 2026-11-12 10:20 UTC by dana@acme.example`, by the audit trail."""
    shown = shortened(key)
    for one in entries:
        # The newest first: what was noted last is the secret that is kept.
        if one.what == "added" or _KEPT in one.detail.get("fields", ()):
            return f"{shown}, set {moment(one.at_micros)} by {one.who}"
    return shown


def shortened(key: str) -> str:
    """Return an access key's ID without its middle."""
    return key if len(key) <= _KEY_SHOWN_MAX else f"{key[:4]}…{key[-4:]}"


def _capabilities(seen: Capabilities | None) -> str:
    if seen is None:
        return "not known before access is verified"
    words = [
        "only where nothing is yet" if seen.conditional_put else "whatever is there",
        "with checksums" if seen.checksums else "without the store's checksums",
    ]
    return ", ".join(words)
