"""View values of the events that came last, and of the requests that were refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tailrace.app.recent import AcceptedEvent
from tailrace.clock import to_datetime
from tailrace.collect.refusals import Refusal

_decode_answer = msgspec.json.Decoder(dict[str, Any]).decode


class EventRow(msgspec.Struct, frozen=True):
    """An accepted event. `at` is ISO 8601; `text` is its JSON, to be read."""

    id: str
    at: str
    time: str
    event_type: str
    who: str
    path: str
    text: str


class RefusedRow(msgspec.Struct, frozen=True):
    """A refused request: `why` is what its sender was told, `text` the whole answer."""

    id: str
    at: str
    time: str
    status: str
    path: str
    why: str
    text: str


def event_rows(found: Sequence[AcceptedEvent]) -> tuple[EventRow, ...]:
    """Return events in their order, the newest first."""
    return tuple(_event(one) for one in found)


def refused_rows(found: Sequence[Refusal]) -> tuple[RefusedRow, ...]:
    """Return refusals in their order, the newest first."""
    return tuple(
        RefusedRow(
            id=f"refused-{one.at_micros}",
            at=_iso(one.at_micros),
            time=_clock(one.at_micros),
            status=str(one.status),
            path=one.path,
            why=_why(one.answer),
            text=_readable(one.answer),
        )
        for one in found
    )


def _event(one: AcceptedEvent) -> EventRow:
    return EventRow(
        id=f"event-{one.accepted_micros}-{one.number}",
        at=_iso(one.accepted_micros),
        time=_clock(one.accepted_micros),
        event_type=one.event_type or "(no type)",
        who=one.user_id or one.device_id or "(nobody)",
        path=one.endpoint,
        text=_readable(one.raw),
    )


def _why(answer: str) -> str:
    """Return the sentence of an answer, with the field that it names; cut ones are shown raw."""
    try:
        told = _decode_answer(answer)
    except msgspec.MsgspecError:
        return answer
    words = [str(told[name]) for name in ("error", "missing_field", "detail") if told.get(name)]
    # Such as `events_with_missing_fields`, with the fields of which something is wrong.
    fields = [
        f"({name.replace('_', ' ')}: {', '.join(value)})"
        for name, value in told.items()
        if isinstance(value, dict)
    ]
    return " ".join((": ".join(words), *fields)).strip() or answer


def _readable(text: str) -> str:
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.MsgspecError:
        return text


def _iso(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%dT%H:%M:%SZ}"


def _clock(micros: int) -> str:
    return f"{to_datetime(micros):%m-%d %H:%M:%S}"
