"""`$exposure`: that somebody saw a variant of an experiment, as an event and a property (3.1.11).

Pure functions of what the client sent.
"""

from __future__ import annotations

import msgspec

from tailrace.upload import EMPTY_OBJECT

EXPOSURE = "$exposure"
EXPOSURE_SHOWN = "[Experiment] Exposure"

_SHOWN = {
    "flag_key": "[Experiment] Flag Key",
    "variant": "[Experiment] Variant",
    "experiment_key": "[Experiment] Experiment Key",
}

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.decode
_encode = msgspec.json.Encoder().encode


def exposure_shown(properties: msgspec.Raw) -> msgspec.Raw:
    """Return an exposure's event properties under the names that its line has for them."""
    found = _decode(properties)
    if found.keys().isdisjoint(_SHOWN):
        return properties
    return msgspec.Raw(_encode({_SHOWN.get(name, name): value for name, value in found.items()}))


def exposed(properties: msgspec.Raw) -> msgspec.Raw:
    """Return what an exposure does to its user's properties, as the operations of an identify.

    The flag's property becomes the variant; without a variant it is unset. An exposure that names
    no flag does nothing.
    """
    found = _decode(properties)
    flag = _text(found.get("flag_key"))
    if flag is None:
        return EMPTY_OBJECT
    name = f"[Experiment] {flag}"
    variant = _text(found.get("variant"))
    operations = {"$unset": {name: "-"}} if variant is None else {"$set": {name: variant}}
    return msgspec.Raw(_encode(operations))


def _text(value: msgspec.Raw | None) -> str | None:
    text = None if value is None else _decode_value(value)
    return text if isinstance(text, str) and text else None
