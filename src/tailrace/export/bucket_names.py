"""Which bucket and region names can be right at all, checked before anything is kept or called."""

from __future__ import annotations

import ipaddress
import re

from tailrace.errors import BadRequest

# S3's rules for general purpose buckets; dots are legal there, though they break TLS host names.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
REGION_LENGTH_MAX = 40


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


def check_region(name: str) -> str:
    """Return the name, or raise `BadRequest` for one that no region can have."""
    if len(name) > REGION_LENGTH_MAX or not _REGION.fullmatch(name):
        raise BadRequest(
            f"Cannot use the region {name[:80]!r}: write it like us-west-2, in lower case."
        )
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
