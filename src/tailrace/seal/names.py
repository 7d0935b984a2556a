"""Names of files and keys of objects: what consumers of the export match on, fixed for ever.

Called by `seal` when a file is made, by `export` for every object, by `inspect`.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from tailrace.errors import BadRequest
from tailrace.hours import Hour

# S3 takes keys of up to 1,024 bytes; the longest part of ours after the prefix is under 128.
PREFIX_BYTES_MAX = 896
# The number of a merged-ID file, whose name has none (R37).
NO_NUMBER = 0
# Readers of a folder tree skip names that begin with an underscore.
MANIFEST_FOLDER = "_manifests"

# As many digits as a number in the database has; more could not even be converted.
_NUMBER = r"[1-9][0-9]{0,18}"
_OF_DAY = r"(?:0|[1-9][0-9]?)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_EVENTS_NAME = re.compile(rf"({_NUMBER})_({_DATE})_({_OF_DAY})#({_NUMBER})\.json\.gz")
_MERGED_NAME = re.compile(rf"(-{_NUMBER})_({_DATE})_({_OF_DAY})\.json\.gz")
# An asterisk or a question mark in a policy's resource stands for other people's keys as well, and
# `${` begins a variable.
_REFUSED_IN_PREFIX = re.compile(r"[\x00-\x1f\x7f-\x9f*?\\]|\$\{")


class FileName(msgspec.Struct, frozen=True):
    """What a file's name says; `number` is `NO_NUMBER` for a merged-ID file."""

    scope: int
    hour: Hour
    number: int


def file_name(scope: int, hour: Hour, number: int) -> str:
    """Return `187520_2020-01-25_17#1.json.gz`, or for minus an organization `-189524_….json.gz`.

    The hour of the day is not padded, partitions count from 1 (R32, R33, R37, D4).
    """
    if scope < 0:
        return f"{_stem(scope, hour)}.json.gz"
    return f"{_stem(scope, hour)}#{number}.json.gz"


def parse_file_name(name: str) -> FileName:
    """Read a file's name; raise `BadRequest` for anything that `file_name` never returns."""
    match = _EVENTS_NAME.fullmatch(name) or _MERGED_NAME.fullmatch(name)
    if match is None:
        raise _no_file_name(name)
    scope, date, of_day = match[1], match[2], match[3]
    try:
        hour = Hour.parse(f"{date}T{of_day:0>2}")
    except BadRequest as error:
        raise _no_file_name(name) from error
    number = int(match[4]) if match.re is _EVENTS_NAME else NO_NUMBER
    return FileName(int(scope), hour, number)


def file_key(prefix: str, scope: int, hour: Hour, number: int) -> str:
    """Return the object key of a file: `{prefix}{scope}/{name}` (D5)."""
    return f"{prefix}{scope}/{file_name(scope, hour, number)}"


def manifest_key(prefix: str, scope: int, hour: Hour) -> str:
    """Return the object key of an hour's manifest, in a folder that readers skip."""
    return f"{prefix}{MANIFEST_FOLDER}/{scope}/{_stem(scope, hour)}.json"


def marker_key(prefix: str, scope: int, hour: Hour) -> str:
    """Return the object key of an hour's marker: beside the files, no extension (D6)."""
    return f"{prefix}{scope}/{_stem(scope, hour)}_complete"


def scope_text(scope: int) -> str:
    """Return what people call a scope."""
    return f"project {scope}" if scope > 0 else f"the merged IDs of organization {-scope}"


def url_path(key: str) -> str:
    """Return a key as it is written in a URL: `#` as `%23`, which would else end the path."""
    return quote(key, safe="/")


def check_prefix(prefix: str) -> str:
    """Return a destination's prefix if it stays within its folder; raise `BadRequest` if not.

    Empty, or segments that each end with a slash. A prefix goes into a bucket policy, so characters
    that would widen the policy are refused with those that break keys.
    """
    reason = _wrong_in_prefix(prefix)
    if reason is None:
        return prefix
    raise BadRequest(
        f"Cannot use the prefix {prefix!r}: {reason}. Leave it empty, or write it like amplitude/."
    )


def _wrong_in_prefix(prefix: str) -> str | None:
    if prefix == "":
        return None
    if not prefix.endswith("/"):
        return "it does not end with a slash"
    try:
        size = len(prefix.encode())
    except UnicodeEncodeError:
        return "it is no valid Unicode text"
    if size > PREFIX_BYTES_MAX:
        return f"it is longer than {PREFIX_BYTES_MAX} bytes"
    if _REFUSED_IN_PREFIX.search(prefix):
        return "it holds a control character, a backslash, an asterisk, a question mark or ${"
    segments = prefix[:-1].split("/")
    if "" in segments:
        return "one of its segments is empty"
    if "." in segments or ".." in segments:
        return "one of its segments is . or .."
    return None


def _stem(scope: int, hour: Hour) -> str:
    return f"{scope}_{hour.date}_{hour.of_day}"


def _no_file_name(name: str) -> BadRequest:
    return BadRequest(
        f"{name!r} is not the name of an exported file: those are like "
        "187520_2020-01-25_17#1.json.gz and -189524_2020-01-25_17.json.gz."
    )
