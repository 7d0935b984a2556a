"""The form that Amplitude's old JavaScript and mobile libraries post to `/`: make an upload of it.

Its events have older names for some keys, and say in `api_properties` what must not be known.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.forms import Fields
from tailrace.collect.limits import Limits
from tailrace.collect.rules import ID_FIELDS, Accepted
from tailrace.collect.sentences import Sentences, note_repeated, objects_of
from tailrace.collect.strict import canonical_event
from tailrace.collect.values import RULES

# These libraries can't ask for a shorter minimum, and repeat what is refused for ever.
ID_LENGTH_MIN = 1

_KEPT = frozenset({*RULES, *ID_FIELDS} - {"library"})
_OLD_NAMES = {"timestamp": "time", "uuid": "insert_id"}
_API_PROPERTIES = {
    **{name: name for name in ("price", "quantity", "productId", "revenueType", "currency")},
    **{name: name for name in ("receipt", "receiptSig", "android_app_set_id")},
    "androidADID": "adid",
    "ios_idfa": "idfa",
    "ios_idfv": "idfv",
}
# Switched off by the sender: the address itself, or what can be read off it.
_TRACKED_BY_ADDRESS = ("ip_address", "country", "region", "city", "dma")


def accept_legacy(api_key: str, fields: Fields, limits: Limits) -> Accepted:
    """Return the upload that the form stands for; raise `Refused`."""
    _check_sum(fields)
    given = objects_of(fields.get("e"), "e", limits.events_max)
    faults = Sentences("event", ID_LENGTH_MIN)
    events: list[object] = []
    for index, one in enumerate(given):
        note_repeated(one, index, faults)
        events.append(canonical_event(_renamed(one), index, faults, ID_LENGTH_MIN))
    if faults:
        raise Refused(faults.answer())
    body = msgspec.json.encode({"api_key": api_key, "events": events})
    return Accepted(body, len(events), _upload_millis(fields))


def _check_sum(fields: Fields) -> None:
    given = fields.get("checksum")
    if given is None:
        return
    parts = [fields.get(name, b"") for name in ("v", "client", "e", "upload_time")]
    if hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest().encode() != given.lower():
        raise Refused(answers.text(400, "bad_checksum"))


def _upload_millis(fields: Fields) -> float | None:
    given = fields.get("upload_time", b"")
    # Thirteen digits until the year 2286; what can't be read counts as not sent.
    return float(given) if given.isdigit() and len(given) <= 15 else None


def _renamed(given: dict[str, Any]) -> dict[str, Any]:
    event = {name: value for name, value in given.items() if name in _KEPT}
    for old, name in _OLD_NAMES.items():
        if given.get(old) is not None:
            event[name] = given[old]
    library = _library(given.get("library"))
    if library is not None:
        event["library"] = library
    api_properties = given.get("api_properties")
    _add_api_properties(event, api_properties if isinstance(api_properties, dict) else {})
    return event


def _library(given: object) -> str | None:
    if isinstance(given, str):
        return given
    if not isinstance(given, dict):
        return None
    texts = [given.get(name) for name in ("name", "version")]
    return "/".join(text for text in texts if isinstance(text, str) and text) or None


def _add_api_properties(event: dict[str, Any], given: dict[str, Any]) -> None:
    for old, name in _API_PROPERTIES.items():
        if event.get(name) is None and given.get(old) is not None:
            event[name] = given[old]
    location = given.get("location")
    if isinstance(location, dict):
        event.setdefault("location_lat", location.get("lat"))
        event.setdefault("location_lng", location.get("lng"))
    # These libraries send no address and mean the one that the request comes from.
    if all(given.get(name) is not False for name in _TRACKED_BY_ADDRESS):
        event.setdefault("ip", "$remote")
