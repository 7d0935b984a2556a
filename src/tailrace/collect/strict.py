"""Read any body at all: find every fault, or make the canonical form of what is allowed.

Slower than `fast`, and the truth that `fast` is tested against.
"""

from __future__ import annotations

import codecs
from typing import Any

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.limits import Limits
from tailrace.collect.parsing import (
    SURROGATE,
    OutOfRange,
    Repeated,
    has_surrogate,
    out_of_range,
    parse,
    unsound,
)
from tailrace.collect.pieces import check_parts, split_events
from tailrace.collect.rules import (
    GROUP_IDENTIFY,
    ID_FIELDS,
    INVALID_IDS,
    LONG_MAX,
    LONG_MIN,
    STRING_LENGTH_MAX,
    Accepted,
    Faults,
)
from tailrace.collect.values import RULES, Fault

_CHECKED_BYTES = 1_048_576


class StrictUpload:
    """A JSON object with an API key and a non-empty list of events."""

    def __init__(
        self, top: dict[str, Any], limits: Limits, pieces: list[msgspec.Raw] | None = None
    ) -> None:
        self.api_key = _api_key(top)
        self._events: list[Any] = pieces or _events(top)
        self._length_min = id_length_min(top, limits)
        self._client_upload_time = _client_upload_time(top)
        self._limits = limits

    def accept(self) -> Accepted:
        """Return the canonical body; raise `Refused` with every fault of every event."""
        if len(self._events) > self._limits.events_max:
            raise Refused(answers.too_large())
        if not all(map(_is_object, self._events)):
            raise Refused(answers.invalid_event_json())
        faults = Faults()
        # Each event makes room for its canonical form: both exist of one event at most.
        for index, event in enumerate(self._events):
            if isinstance(event, msgspec.Raw):
                canonical = canonical_event(
                    _open_piece(event, self._limits), index, faults, self._length_min
                )
                self._events[index] = msgspec.Raw(msgspec.json.encode(canonical))
            else:
                self._events[index] = canonical_event(event, index, faults, self._length_min)
        if faults:
            raise Refused(faults.answer())
        body: dict[str, object] = {"api_key": self.api_key, "events": self._events}
        return Accepted(msgspec.json.encode(body), len(self._events), self._client_upload_time)


def open_strict(body: bytes, limits: Limits) -> StrictUpload:
    """Parse the body; raise `Refused` for a fault of the request as a whole."""
    _check_text(body)
    if len(body) <= limits.inline_bytes_max:
        return StrictUpload(_parse_object(body), limits)
    body = body.removeprefix(codecs.BOM_UTF8)
    rest, pieces = split_events(body)
    check_parts(rest, limits)
    return StrictUpload(_parse_object(rest), limits, pieces)


def _check_text(body: bytes) -> None:
    # Piece by piece: with one rare character in it, text takes four times the body's bytes.
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    blank = True
    try:
        for start in range(0, len(body), _CHECKED_BYTES):
            text = decoder.decode(body[start : start + _CHECKED_BYTES])
            blank = blank and (not text or text.isspace())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Refused(answers.invalid_json("The body is not UTF-8.")) from error
    if blank:
        raise Refused(answers.missing_body())


def _open_piece(piece: msgspec.Raw, limits: Limits) -> dict[str, Any]:
    text = bytes(piece)
    check_parts(text, limits)
    return _parse_object(text)


def _is_object(event: object) -> bool:
    if isinstance(event, msgspec.Raw):
        return bytes(memoryview(event)[:1]) == b"{"
    return isinstance(event, dict)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        top = parse(body.decode("utf-8-sig"))
    except RecursionError as error:
        raise Refused(answers.invalid_json("The body is nested too deeply to be read.")) from error
    except ValueError as error:
        raise Refused(answers.invalid_json()) from error
    if not isinstance(top, dict):
        raise Refused(answers.invalid_json())
    return top


def _api_key(top: dict[str, Any]) -> str:
    if isinstance(top, Repeated):
        repeated = answers.echo(top.key)
        raise Refused(answers.invalid_json(f'The body repeats the key "{repeated}".'))
    given = top.get("api_key")
    if given is None or given == "":
        raise Refused(answers.missing_field("api_key"))
    if not isinstance(given, str):
        shown = f"{given}" if isinstance(given, int | float) else "(not text)"
        raise Refused(answers.invalid_api_key(shown))
    return answers.echo(given) if has_surrogate(given) else given


def _events(top: dict[str, Any]) -> list[Any]:
    events = top.get("events")
    if isinstance(events, list) and events:
        return events
    if events is None or events == []:
        raise Refused(answers.missing_field("events"))
    raise Refused(answers.missing_field("events", "events must be a list of objects."))


def id_length_min(top: dict[str, Any], limits: Limits) -> int:
    """Return the shortest identifier that the request allows; raise `Refused` for a bad option."""
    for name in top.keys() - {"api_key", "events"}:
        reason = unsound(top[name]) or unsound(name)
        if reason is not None:
            raise Refused(answers.invalid_json(f"{answers.echo(name)} {answers.echo(reason)}."))
    options = top.get("options")
    if options is None:
        return limits.id_length_min
    if not isinstance(options, dict):
        raise Refused(answers.invalid_json("options must be an object."))
    length = options.get("min_id_length")
    if length is None:
        return limits.id_length_min
    if isinstance(length, float) and length.is_integer():
        length = int(length)
    if type(length) is not int or not LONG_MIN <= length <= LONG_MAX:
        raise Refused(answers.invalid_json("options.min_id_length must be a whole number."))
    return length


def _client_upload_time(top: dict[str, Any]) -> str | float | None:
    # SDKs send it without being asked; one that can't be read counts as not sent.
    given = top.get("client_upload_time")
    return given if type(given) in (str, int) or isinstance(given, float) else None


def canonical_event(
    event: dict[str, Any], index: int, faults: Faults, length_min: int
) -> dict[str, object]:
    """Return the event as it is stored; note its faults."""
    canonical: dict[str, object] = {}
    if isinstance(event, Repeated):
        faults.invalid(event.key, index, "is there more than once")
    for name, value in event.items():
        if value is None or name in ID_FIELDS:
            continue
        try:
            rule = RULES.get(name)
            if rule is None:
                reason = unsound(name) or unsound(value)
                if reason is not None:
                    raise Fault(reason)
            else:
                canonical[name] = rule(value)
        except Fault as fault:
            faults.invalid(name, index, fault.reason)
    event_type = event.get("event_type")
    if event_type is None or (isinstance(event_type, str) and not event_type.strip()):
        faults.missing("event_type", index)
    ids = [canonical_id(event, name, index, faults, length_min, canonical) for name in ID_FIELDS]
    if not any(ids) and event_type != GROUP_IDENTIFY:
        for name in ID_FIELDS:
            faults.missing(name, index)
    return canonical


def canonical_id(
    event: dict[str, Any],
    name: str,
    index: int,
    faults: Faults,
    length_min: int,
    canonical: dict[str, object],
) -> bool:
    """Put a good identifier into `canonical`; return whether one was sent at all (3.1.5, D13)."""
    value = event.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int or isinstance(value, float):
        value = str(value)
    if value is None:
        return False
    if not isinstance(value, str):
        faults.invalid(name, index, out_of_range(value) if isinstance(value, OutOfRange) else None)
        return True
    trimmed = value.strip()
    if not trimmed:
        return False
    if has_surrogate(value):
        faults.invalid(name, index, SURROGATE)
    elif trimmed.lower() in INVALID_IDS:
        faults.invalid(name, index)
    elif len(value) < length_min:
        faults.short(name, index)
    else:
        canonical[name] = stored_id(value)
    return True


def stored_id(text: str) -> str:
    """Return an identifier as it is stored: trimmed, then cut."""
    return text.strip()[:STRING_LENGTH_MAX].rstrip()
