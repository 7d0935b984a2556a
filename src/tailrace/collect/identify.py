"""`/identify` and `/groupidentify`: make an ordinary upload of what their forms say (3.3, 3.4).

Each object becomes a `$identify` or `$groupidentify` event, so that there is one way through log
and processor.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.forms import Fields
from tailrace.collect.limits import Limits
from tailrace.collect.rules import GROUP_IDENTIFY, ID_FIELDS, Accepted, Faults
from tailrace.collect.sentences import Sentences, json_of, note_repeated, objects_of
from tailrace.collect.strict import canonical_event, id_length_min

# Section 3.4; a list operation counts for as many properties as it names.
GROUP_IDENTIFIES_MAX = 1024
GROUP_PROPERTIES_MAX = 1024

IDENTIFY = "$identify"
_WHAT = "identification"
_KEYS = frozenset(
    {
        *ID_FIELDS,
        *("user_properties", "groups", "app_version", "platform", "os_name", "os_version"),
        *("device_brand", "device_manufacturer", "device_model", "carrier", "country", "region"),
        *("city", "dma", "language", "paying", "start_version"),
    }
)


def accept_identify(api_key: str, fields: Fields, limits: Limits) -> Accepted:
    """Return the upload that the form's `identification` stands for; raise `Refused`.

    Unknown keys are ignored, and so are the `insert_id` and `time` that one client sends: it gives
    an event the same `insert_id`, which would then be taken for a repeat.
    """
    given = objects_of(fields.get(_WHAT), _WHAT, limits.events_max)
    length_min = _length_min(fields, limits)
    faults = Sentences(_WHAT, length_min)
    events: list[object] = []
    for index, one in enumerate(given):
        note_repeated(one, index, faults)
        event = {name: value for name, value in one.items() if name in _KEYS}
        event["event_type"] = IDENTIFY
        events.append(canonical_event(event, index, faults, length_min))
    return _accepted(api_key, events, faults)


def accept_group_identify(api_key: str, fields: Fields, limits: Limits) -> Accepted:
    """Return the upload that the form's `identification` of groups stands for; raise `Refused`."""
    given = objects_of(fields.get(_WHAT), _WHAT, min(GROUP_IDENTIFIES_MAX, limits.events_max))
    length_min = _length_min(fields, limits)
    faults = Sentences(_WHAT, length_min)
    properties = 0
    events: list[object] = []
    for index, one in enumerate(given):
        note_repeated(one, index, faults)
        event: dict[str, Any] = {
            "event_type": GROUP_IDENTIFY,
            "groups": _group(one, index, faults),
            "group_properties": one.get("group_properties"),
        }
        properties += _count_properties(event["group_properties"])
        events.append(canonical_event(event, index, faults, length_min))
    if properties > GROUP_PROPERTIES_MAX:
        limit = f"A request holds at most {GROUP_PROPERTIES_MAX} group properties."
        raise Refused(answers.text(413, limit))
    return _accepted(api_key, events, faults)


def _group(given: dict[str, Any], index: int, faults: Sentences) -> dict[str, Any]:
    kind, value = given.get("group_type"), given.get("group_value")
    if not isinstance(kind, str) or not kind.strip():
        faults.invalid("group_type", index, "must be text that is not empty")
        return {}
    is_one = type(value) in (str, int) or isinstance(value, float)
    if not is_one or (isinstance(value, str) and not value.strip()):
        faults.invalid("group_value", index, "must be one text that is not empty")
        return {}
    return {kind: value}


def _count_properties(given: object) -> int:
    if not isinstance(given, dict):
        return 0
    return sum(
        len(value) if name.startswith("$") and isinstance(value, dict) else 1
        for name, value in given.items()
    )


def _length_min(fields: Fields, limits: Limits) -> int:
    options = fields.get("options")
    if options is None or not options.strip():
        return limits.id_length_min
    return id_length_min({"options": json_of(options, "options")}, limits)


def _accepted(api_key: str, events: list[object], faults: Faults) -> Accepted:
    if faults:
        raise Refused(faults.answer())
    body = msgspec.json.encode({"api_key": api_key, "events": events})
    return Accepted(body, len(events), None)
