"""Which buckets, regions and roles can be right at all, checked before anything is kept."""

from __future__ import annotations

import ipaddress
import re

from tailrace.errors import BadRequest

# S3's rules for general purpose buckets; dots are legal there, though they break TLS host names.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# What clients can sign for; Ceph's zones, for one, are called RegionOne.
_STORES_REGION = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
REGION_LENGTH_MAX = 40
# As IAM writes roles, with or without a path.
_ROLE = re.compile(r"arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,575}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9+=,.@:/_-]{2,1224}")


def check_bucket_name(name: str) -> str:
    """Return the name, or raise `BadRequest` that says which rule of S3 it breaks."""
    reason = None
    if not _BUCKET.fullmatch(name):
        reason = (
            "a name has 3 to 63 lower-case letters, digits, dots and dashes, and begins and ends "
            "with a letter or digit"
        )
    elif ".." in name or ".-" in name or "-." in name:
        reason = "a dot stands only between letters and digits"
    elif _is_address(name):
        reason = "it looks like an IP address"
    if reason is not None:
        raise BadRequest(f"Cannot use the bucket {name[:80]!r}: {reason}.")
    return name


def check_region(name: str, endpoint_url: str | None) -> str:
    """Return the name, or raise `BadRequest` for one that no region can have.

    An endpoint of None is Amazon S3 itself, whose regions are all in lower case.
    """
    if endpoint_url is None and not _fits(_REGION, name):
        raise BadRequest(
            f"Cannot use the region {name[:80]!r}: write it like us-west-2, in lower case."
        )
    if not _fits(_STORES_REGION, name):
        raise BadRequest(
            f"Cannot use the region {name[:80]!r}: write it like us-west-2, with letters, digits "
            "and hyphens."
        )
    return name


def _fits(pattern: re.Pattern[str], name: str) -> bool:
    return len(name) <= REGION_LENGTH_MAX and pattern.fullmatch(name) is not None


def check_role(arn: str) -> str:
    """Return a role's ARN, or raise `BadRequest` for what names no role."""
    if not _ROLE.fullmatch(arn):
        raise BadRequest(
            f"Cannot use the role {arn[:80]!r}: write its ARN, like "
            "arn:aws:iam::111122223333:role/tailrace."
        )
    return arn


def check_external_id(text: str) -> str:
    """Return an external ID, or raise `BadRequest` for one that AWS would not take."""
    if not _EXTERNAL_ID.fullmatch(text):
        raise BadRequest(
            "Cannot use this external ID: it has 2 to 1,224 letters, digits and + = , . @ : / _ -"
        )
    return text


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
