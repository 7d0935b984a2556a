"""What those SDKs are known to make of an answer: a small model of each, and no more than that.

A model reads an answer as strictly as the SDK: what the SDK needs and does not find raises here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

Event = Mapping[str, Any]


class Reading(msgspec.Struct, frozen=True):
    """What happens to the events of a request, by their places: the batches go out again."""

    done: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    again: tuple[tuple[int, ...], ...] = ()


Reader = Callable[[int, bytes, str, Sequence[Event], int], Reading]


def java(status: int, content: bytes, api_key: str, events: Sequence[Event], tries: int) -> Reading:
    """Read `code` alone; know nothing of lengths of ids, nor of silenced events."""
    body = json.loads(content)
    every = frozenset(range(len(events)))
    match _integer(body, "code"):
        case 200:
            for name in ("events_ingested", "payload_size_bytes", "server_upload_time"):
                _integer(body, name)
            return Reading(done=every)
        case 400:
            if re.fullmatch("Invalid API key: .*", body.get("error", "")):
                return Reading(dropped=every)
            if body.get("missing_field") or len(events) == 1:
                return Reading(dropped=every)
            bad = _places(body, "events_with_invalid_fields", "events_with_missing_fields")
            return Reading(dropped=bad, again=_by_person(events, every - bad))
        case 413:
            return _java_again(events, frozenset(), tries)
        case 429:
            _integer(body, "eps_threshold")
            return _java_again(events, _over_quota(body, events), tries)
        # Not all versions send again after a 5xx: for those it is good that nothing is stored.
        case code if code >= 500 or code == 408:
            return Reading(again=_by_person(events, every))
        case _:
            return Reading(dropped=every)


def _java_again(events: Sequence[Event], gone: frozenset[int], tries: int) -> Reading:
    every = frozenset(range(len(events)))
    if not tries:
        return Reading(dropped=gone, again=_by_person(events, every - gone))
    # From its second try on, the SDK throws half of a person's events away each time.
    half = tuple(range(len(events) // 2))
    return Reading(dropped=every - set(half), again=_batch(half))


def go(status: int, content: bytes, api_key: str, events: Sequence[Event], tries: int) -> Reading:
    """Read the status of HTTP, and every map of the body, with its types."""
    body = json.loads(content)
    every = frozenset(range(len(events)))
    match status:
        case 200:
            return Reading(done=every)
        case 413:
            return _halved(every)
        case 429:
            throttled = frozenset(body.get("throttled_events", ()))
            gone = _over_quota(body, events) & throttled
            return Reading(dropped=gone, again=_batch(every - gone))
        case 400:
            if body["error"].startswith("Invalid API key:") or body.get("missing_field"):
                return Reading(dropped=every)
            bad = _places(
                body,
                "events_with_invalid_fields",
                "events_with_missing_fields",
                "events_with_invalid_id_lengths",
            )
            return Reading(dropped=bad, again=_batch(every - bad))
        case _:
            return Reading(again=_batch(every))


def kotlin(
    status: int, content: bytes, api_key: str, events: Sequence[Event], tries: int
) -> Reading:
    """Read the status of HTTP; a 400 that names nobody keeps the file for ever."""
    body = json.loads(content)
    return _mobile(
        status, body, events, wrong_key="invalid api key" in body.get("error", "").lower()
    )


def swift(
    status: int, content: bytes, api_key: str, events: Sequence[Event], tries: int
) -> Reading:
    """Read the status of HTTP; only the exact words say that the key is wrong."""
    body = json.loads(content)
    wrong_key = body.get("error", "") == f"Invalid API key: {api_key}"
    return _mobile(status, body, events, wrong_key=wrong_key)


def _mobile(
    status: int, body: dict[str, Any], events: Sequence[Event], *, wrong_key: bool
) -> Reading:
    every = frozenset(range(len(events)))
    match status:
        case 200:
            return Reading(done=every)
        case 400 if wrong_key:
            return Reading(dropped=every)
        case 400:
            bad = _places(body, "events_with_invalid_fields", "events_with_missing_fields")
            return Reading(dropped=bad, again=_batch(every - bad))
        case 413:
            return _halved(every)
        case _:
            return Reading(again=_batch(every))


def _integer(body: dict[str, Any], name: str) -> int:
    value = body[name]
    assert isinstance(value, int), f"{name} is {value!r}"
    return value


def _places(body: dict[str, Any], *names: str) -> frozenset[int]:
    """Return all places of maps from a field to a list of places; another type raises."""
    found: set[int] = set()
    for name in names:
        for places in body.get(name, {}).values():
            assert all(type(place) is int for place in places)
            found.update(places)
    return frozenset(found)


def _over_quota(body: dict[str, Any], events: Sequence[Event]) -> frozenset[int]:
    users = body.get("exceeded_daily_quota_users", {})
    devices = body.get("exceeded_daily_quota_devices", {})
    return frozenset(
        place
        for place, event in enumerate(events)
        if event.get("user_id") in users or event.get("device_id") in devices
    )


def _batch(places: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    batch = tuple(sorted(places))
    return (batch,) if batch else ()


def _halved(every: frozenset[int]) -> Reading:
    if len(every) == 1:
        return Reading(dropped=every)
    half = len(every) // 2
    return Reading(again=(tuple(range(half)), tuple(range(half, len(every)))))


def _by_person(events: Sequence[Event], places: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    groups: dict[tuple[Any, Any], list[int]] = {}
    for place in sorted(places):
        person = (events[place].get("user_id"), events[place].get("device_id"))
        groups.setdefault(person, []).append(place)
    return tuple(map(tuple, groups.values()))
