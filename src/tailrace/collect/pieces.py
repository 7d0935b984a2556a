"""Cut a large body into its events, so that only one of them is decoded at a time.

Python's own objects take up to sixty times the bytes of the JSON that they come from.
"""

from __future__ import annotations

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.limits import Limits

_decode_top = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_events(body: bytes) -> tuple[bytes, list[msgspec.Raw] | None]:
    """Return the body with an empty list in place of its events, and the events one by one.

    A body that can't be cut, and one whose events are no filled list, comes back whole, with None:
    whoever parses it finds out why.
    """
    try:
        events = _decode_top(body).get("events")
        pieces = [] if events is None else _decode_list(events)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body, None
    if events is None or not pieces:
        return body, None
    text = bytes(events)
    start = body.rfind(text)
    return body[:start] + b"[]" + body[start + len(text) :], pieces


def check_parts(text: bytes, limits: Limits) -> None:
    """Refuse (413) what would take too much memory once decoded; signs in strings count too."""
    if text.count(b"{") + text.count(b"[") > limits.event_containers_max:
        raise Refused(answers.too_large("An event holds too many objects and lists."))
    if text.count(b",") > limits.event_values_max:
        raise Refused(answers.too_large("An event holds too many values."))
