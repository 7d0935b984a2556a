"""The oracle of two ways: fast and strict take the same bodies, and store the same of them."""

from __future__ import annotations

from typing import Any

import msgspec

from fuzz.claims import claim, same, strict_json
from tailrace.collect.answers import Refused
from tailrace.collect.counters import Counters
from tailrace.collect.fast import open_fast
from tailrace.collect.limits import Limits
from tailrace.collect.reading import open_upload
from tailrace.collect.rules import Accepted
from tailrace.collect.strict import open_strict
from tailrace.upload import Upload, UploadEvent

RAW_FIELDS = ("event_properties", "user_properties", "groups", "group_properties")
# Limits on how much a body may hold depend on the way it is read, and only them.
_PARTS = b"holds too many"


def check_both_ways(body: bytes, limits: Limits) -> None:
    """Read a body in each way there is and compare."""
    strict = _strict(body, limits)
    # Every way, also where the size of the body would not lead there.
    opened = open_fast(body, limits)
    fast = opened.accept() if opened is not None and opened.api_key else None
    if fast is not None and not _too_many(strict):
        claim(isinstance(strict, Accepted), f"only fast accepts: {strict}")
        claim(alike(fast, strict), "fast and strict store different events")
    either = _either(body, limits)
    if _too_many(either) or _too_many(strict):
        return
    claim(
        isinstance(either, Accepted) == isinstance(strict, Accepted),
        f"one way accepts, the other doesn't: {either}, {strict}",
    )
    if isinstance(either, Accepted):
        claim(alike(either, strict), "two ways store different events")
    elif isinstance(strict, Refused):
        claim(isinstance(either, Refused) and either.answer == strict.answer, "other refusals")


def alike(one: Accepted, other: Accepted | Refused) -> bool:
    """Return whether two accepted bodies are decoded to the same."""
    return (
        isinstance(other, Accepted)
        and one.events == other.events
        and same(plain(one.body), plain(other.body))
        and same(one.client_upload_time, other.client_upload_time)
    )


def plain(body: bytes) -> list[dict[str, Any]]:
    """Return the stored events as the processor decodes them, after a look at their raw parts."""
    events: list[dict[str, Any]] = []
    for event in msgspec.json.decode(body, type=Upload).events:
        fields = {name: getattr(event, name) for name in UploadEvent.__struct_fields__}
        for name in RAW_FIELDS:
            raw = bytes(fields[name])
            claim(b"\n" not in raw and b"\r" not in raw, f"{name} holds a line break")
            fields[name] = strict_json(raw)
            claim(isinstance(fields[name], dict), f"{name} is no object")
        for name in ("plan", "ingestion_metadata"):
            fields[name] = None if fields[name] is None else msgspec.to_builtins(fields[name])
        events.append(fields)
    return events


def _strict(body: bytes, limits: Limits) -> Accepted | Refused:
    try:
        return open_strict(body, limits).accept()
    except Refused as refused:
        return refused


def _either(body: bytes, limits: Limits) -> Accepted | Refused:
    try:
        return open_upload(body, limits, Counters()).accept()
    except Refused as refused:
        return refused


def _too_many(outcome: Accepted | Refused) -> bool:
    return isinstance(outcome, Refused) and _PARTS in outcome.answer.body
