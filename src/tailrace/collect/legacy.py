"""The form that Amplitude's old JavaScript and mobile libraries post to `/`: make an upload of it.

Its events have older names for some keys, and say in `api_properties` what must not be known.
"""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal
from typing import Any

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.forms import Fields
from tailrace.collect.limits import Limits
from tailrace.collect.rules import (
    ID_FIELDS,
    INVALID_IDS,
    TEXT_FIELDS,
    TEXT_OBJECT_FIELDS,
    Accepted,
)
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
_MILLIS = ("time", "session_id")
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
    _add_api_properties(event, _object(given.get("api_properties")))
    _loosen(event)
    return event


def _loosen(event: dict[str, Any]) -> None:
    """Make what these libraries let through what an upload takes: they repeat a refused event for
    ever, and with it all that come after it.
    """
    user_id = _text(event.get("user_id"))
    is_placeholder = isinstance(user_id, str) and user_id.strip().lower() in INVALID_IDS
    if is_placeholder and event.get("device_id"):
        # `setUserId(undefined)` by way of a text: nobody is known, and the device says the rest.
        del event["user_id"]
    for name in _MILLIS:
        if type(event.get(name)) is float:
            event[name] = math.floor(event[name])
    for name in ("price", "quantity"):
        if isinstance(event.get(name), str):
            event[name] = _number(event[name])
    for name in TEXT_FIELDS & event.keys():
        event[name] = _text(event[name])
    for name in TEXT_OBJECT_FIELDS.keys() & event.keys():
        if isinstance(event[name], dict):
            event[name] = {key: _text(value) for key, value in event[name].items()}
    quantity, properties = event.get("quantity"), event.get("event_properties") or {}
    if type(quantity) is float and not quantity.is_integer() and isinstance(properties, dict):
        event["event_properties"] = _with_pieces(event, properties)


def _with_pieces(event: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """Move a quantity that is not whole, and its price, where such an event's line has them."""
    quantity = event.pop("quantity")
    properties = {**properties, "$quantity": quantity}
    price = event.get("price")
    if type(price) in (int, float):
        properties["$price"] = event.pop("price")
        revenue = float(Decimal(repr(price)) * Decimal(repr(quantity)))
        event["revenue"] = revenue if math.isfinite(revenue) else None
    return properties


def _text(value: object) -> object:
    return str(value) if type(value) in (int, float) else value


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _object(given: object) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


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
    location = _object(given.get("location"))
    event.setdefault("location_lat", location.get("lat"))
    event.setdefault("location_lng", location.get("lng"))
    # These libraries send no address and mean the one that the request comes from.
    tracked = _object(given.get("tracking_options"))
    if all(tracked.get(name) is not False for name in _TRACKED_BY_ADDRESS):
        event.setdefault("ip", "$remote")
