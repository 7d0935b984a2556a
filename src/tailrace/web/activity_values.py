"""View values of the list of what happened at a destination: each entry in words. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tailrace.clock import to_datetime
from tailrace.notify.amounts import counted, micros_between
from tailrace.state.activity import BACK, FINISHED, REFUSED, ActivityKind, Happening
from tailrace.state.audit import SERVICE
from tailrace.web.configuration_values import shortened

COLUMNS = ("When (UTC)", "Who", "What", "More")
# What people choose from, and how it is written in a row.
KINDS: tuple[tuple[ActivityKind, str], ...] = (
    ("settings", "Settings"),
    ("manual export", "Manual exports"),
    ("access", "Access"),
)
CSV_COLUMNS = ("time_utc", "who", "kind", "number", "what", "detail")
# A cell that begins with one of these is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Detail = dict[str, Any]
KEY = "access_key_id"
_WORDS: dict[tuple[ActivityKind, str], str] = {
    ("settings", "added"): "Added the destination",
    ("settings", "activated"): "Verified access; automatic exports are on",
    ("settings", "verified"): "Verified access; automatic exports stay off",
    ("settings", "paused"): "Switched automatic exports off",
    ("settings", "resumed"): "Switched automatic exports on",
    ("settings", "edited"): "Changed the settings",
    ("settings", "deleted"): "Deleted the destination",
    ("settings", "interval set"): "Chose which hours are exported",
    ("settings", "region set"): "Took the bucket's region",
    ("settings", "capabilities set"): "Noted what the store can do",
    ("settings", "tried again"): "Tried again what waited",
    ("manual export", "started"): "Started manual export",
    ("manual export", "paused"): "Paused manual export",
    ("manual export", "resumed"): "Went on with manual export",
    ("manual export", "cancelled"): "Cancelled manual export",
    ("manual export", FINISHED): "Finished manual export",
    ("access", REFUSED): "Access was refused",
    ("access", BACK): "Access is back",
}
FIELDS = {
    "name": "name",
    "bucket": "bucket",
    "region": "region",
    "prefix": "prefix",
    "endpoint_url": "endpoint",
    "access_key_id": "access key",
    "secret_encrypted": "secret access key",
    "role_arn": "role",
    "external_id": "external ID",
    "encryption": "encryption",
    "kms_key_arn": "KMS key",
    "include_events": "events",
    "include_merged_ids": "merged IDs",
    "manifest": "manifest",
    "marker": "marker",
}


class ActivityRow(msgspec.Struct, frozen=True):
    """One thing that happened. `at` is ISO 8601; `href` leads to what it is about, if anywhere."""

    id: str
    at: str
    shown: str
    who: str
    what: str
    more: str
    href: str


def activity_rows(found: Sequence[Happening], path: str, first: int) -> tuple[ActivityRow, ...]:
    """Return what happened in words, in its order; the destination's pages are below `path`.

    Rows are numbered from `first` on.
    """
    return tuple(_row(one, path, first + number) for number, one in enumerate(found))


def who_words(who: str) -> str:
    """Return what somebody is called who acted."""
    return "tailrace, by itself" if who == SERVICE else who


def as_csv(found: Iterable[Happening]) -> str:
    """Return what happened as CSV (RFC 4180) with a head; `detail` is JSON as it was noted.

    What a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(CSV_COLUMNS)
    for one in found:
        told = {name: _told(name, value) for name, value in one.detail.items()}
        detail = msgspec.json.encode(told).decode()
        number = one.number or ""
        lines.writerow((_time(one), _harmless(one.who), one.kind, number, one.what, detail))
    return text.getvalue()


def _row(one: Happening, path: str, number: int) -> ActivityRow:
    what = _WORDS.get((one.kind, one.what), one.what)
    href = ""
    if one.kind == "manual export":
        what, href = f"{what} {one.number}", f"{path}/manual-exports#export-{one.number}"
    elif one.kind == "access":
        href = f"{path}/failures/{one.number}"
    return ActivityRow(
        id=f"activity-{number}",
        at=_time(one),
        shown=f"{to_datetime(one.at_micros):%Y-%m-%d %H:%M:%S}",
        who=who_words(one.who),
        what=what,
        more=_MORE.get((one.kind, one.what), _nothing)(one),
        href=href,
    )


def _time(one: Happening) -> str:
    return f"{to_datetime(one.at_micros):%Y-%m-%dT%H:%M:%SZ}"


def _told(name: str, value: object) -> object:
    """Return what is told of a detail: of an access key's ID no more than pages show."""
    return shortened(value) if name == KEY and isinstance(value, str) else value


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _nothing(_: Happening) -> str:
    return ""


def _added(one: Happening) -> str:
    place = f"s3://{one.detail.get('bucket', '')}/{one.detail.get('prefix', '')}"
    # Those of earlier releases were added without a name.
    name = one.detail.get("name")
    return f"{name}, {place}" if name else place


def _first(one: Happening) -> str:
    first = one.detail.get("from_hour")
    return f"from {first} on" if first else ""


def _resumed(one: Happening) -> str:
    owed, left_out = one.detail.get("newly_owed", 0), one.detail.get("left_out", 0)
    # An hour of events and the same hour of merged IDs are two runs.
    words = [f"{counted(owed, 'missed run')} {'goes' if owed == 1 else 'go'} out"]
    if left_out:
        words.append(f"{counted(left_out, 'run')} left out")
    return ", ".join(words) if owed or left_out else "nothing was missed"


def _edited(one: Happening) -> str:
    return ", ".join(
        _setting(name, one.detail) for name in one.detail.get("fields", ()) if name in FIELDS
    )


def _setting(name: str, detail: Detail) -> str:
    if name not in detail:
        return f"new {FIELDS[name]}"
    value = _told(name, detail[name])
    if isinstance(value, bool):
        return f"{FIELDS[name]} {'on' if value else 'off'}"
    return f"{FIELDS[name]} {value}" if value else f"no {FIELDS[name]}"


def _interval(one: Happening) -> str:
    until = one.detail.get("until_hour")
    return _first(one) + (f", before {until}" if until else "")


def _region(one: Happening) -> str:
    return f"{one.detail.get('region')}, before {one.detail.get('was') or 'none'}"


def _tried_again(one: Happening) -> str:
    return f"{counted(one.detail.get('runs', 0), 'run')}: {one.detail.get('cause')}"


def _started(one: Happening) -> str:
    detail = one.detail
    words = [
        f"{detail.get('from_hour')} until {detail.get('until_hour')}",
        counted(detail.get("runs", 0), "run"),
        *(("overwriting",) if detail.get("overwrite") else ()),
    ]
    return ", ".join(words)


def _refused(one: Happening) -> str:
    return str(one.detail.get("title") or one.detail.get("sentence") or "")


def _back(one: Happening) -> str:
    if one.since_micros is None:
        return ""
    return f"after {micros_between(one.since_micros, one.at_micros)}"


_MORE: dict[tuple[ActivityKind, str], Callable[[Happening], str]] = {
    ("settings", "added"): _added,
    ("settings", "activated"): _first,
    ("settings", "resumed"): _resumed,
    ("settings", "edited"): _edited,
    ("settings", "interval set"): _interval,
    ("settings", "region set"): _region,
    ("settings", "tried again"): _tried_again,
    ("manual export", "started"): _started,
    ("access", REFUSED): _refused,
    ("access", BACK): _back,
}
