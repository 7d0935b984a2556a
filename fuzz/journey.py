"""The oracle of what was accepted: processed, each event is one exact line or is accounted for.

The model here is written from the documented rules, not from the code under test.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from fuzz.claims import NotJson, claim, same, strict_json
from fuzz.people import People
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.log.record import Entry, Record
from tailrace.process.batch import Batch
from tailrace.process.chunks import Tally, open_hour
from tailrace.process.dedupe import Dedupe
from tailrace.process.enrich import derived_device_id
from tailrace.process.event import Portion
from tailrace.process.groups import Groups
from tailrace.process.identity import Identity
from tailrace.process.persons import Persons
from tailrace.process.places import Places
from tailrace.process.render import Line
from tailrace.process.state import State
from tailrace.state.insertions import Insertions
from tailrace.state.processing import HourSettings, ProcessingStore

HOUR = Hour.parse("2026-03-05T17")
STAMP = HOUR.start_micros + 1_234_567
KEYS = [field.encode_name for field in msgspec.structs.fields(Line)]
KEYS_COUNT = 49
LENGTH_MAX = 1024
DEPTH_MAX = 40
STATE_BYTES_MAX = 8192
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHE_BYTES = 1_000_000

REVENUE = (
    "price",
    "quantity",
    "revenue",
    "productId",
    "revenueType",
    "currency",
    "receipt",
    "receiptSig",
)
BECOMES = frozenset("$" + name for name in REVENUE)


def check_accepted(record: Record, sent: list[dict[str, Any]]) -> None:
    """Process a record on an empty database; `sent` are the events as the client wrote them."""
    lines, tally, held = process(record)
    claim(not held, f"an accepted event is held: {held[:1]}")
    claim(tally.held == 0, "an accepted event is counted as held")
    wanted, duplicates, identifies = expected(sent)
    claim(
        (tally.exported, tally.duplicates, tally.identifies)
        == (len(wanted), duplicates, identifies),
        f"{tally} of {len(wanted)} to export, {duplicates} duplicates, {identifies} identifies",
    )
    claim(not lines or lines.endswith(b"\n"), "the last line is not ended")
    claim(b"\r" not in lines, "a line holds a carriage return")
    texts = lines.split(b"\n")[:-1]
    claim(len(texts) == len(wanted), f"{len(texts)} lines of {len(wanted)} events")
    # Of a small record: what is remembered is cut where it is much, byte by byte as it was written.
    shows_state = len(record.body) <= STATE_BYTES_MAX
    for text, (event, people) in zip(texts, wanted, strict=True):
        try:
            line = strict_json(text)
        except NotJson as error:
            claim(False, f"a line is no strict JSON: {error}")
        claim(list(line) == KEYS and len(line) == KEYS_COUNT, "a line has other keys")
        _check_line(line, event, people if shows_state else {})


def process(record: Record) -> tuple[bytes, Tally, list[Any]]:
    """Return what a processor with an empty database makes of one record."""
    store = _store()
    connection = store.connection
    batch = Batch(
        Dedupe(Insertions(connection, store.keys_folder, Files(), epoch=1), b"k" * 16),
        State(
            Identity(connection, 1, _CACHE_BYTES),
            Persons(connection, _CACHE_BYTES),
            Groups(connection, _CACHE_BYTES),
        ),
        Places(Path("places"), None),
        b"k" * 16,
    )
    entry = Entry(1, 1, 2, STAMP, record)
    parts = batch.prepare(entry, record, HOUR.number)
    portions = [part for part in parts if isinstance(part, Portion)]
    held: list[Any] = [part for part in parts if not isinstance(part, Portion)]
    batch.begin(portions)
    batch.look_up(portions)
    hour = open_hour(record.project, HOUR.number, record.organization, HourSettings(), 0)
    tally, lines = Tally(), b""
    for portion in portions:
        outcome = batch.apply(portion, portions, hour, STAMP)
        lines += outcome.lines
        tally.add(outcome.tally)
        held += outcome.held
    return lines, tally, held


def expected(
    sent: list[dict[str, Any]],
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], int, int]:
    """Return the events that become lines, with what these say of people; and how many are
    duplicates and identifies.
    """
    wanted: list[tuple[dict[str, Any], dict[str, Any]]] = []
    people = People()
    duplicates = identifies = 0
    seen: set[tuple[str, str]] = set()
    for event in sent:
        insert_id = text_of(event.get("insert_id"))
        device, user = id_of(event.get("device_id")), id_of(event.get("user_id"))
        if device is None and user is not None:
            device = derived_device_id(user)
        if insert_id is not None:
            if (device or "", insert_id) in seen:
                duplicates += 1
                continue
            seen.add((device or "", insert_id))
        line = people.take(0, canonical(event) | {"device_id": device, "user_id": user})
        if line is None:
            identifies += 1
        else:
            wanted.append((event, line))
    return wanted, duplicates, identifies


def canonical(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as it is stored, but for its identifiers: strings cut, no empty ones."""
    found = {
        name: text_of(value) if isinstance(value, str) else value
        for name, value in event.items()
        if value is not None
    }
    for name in ("event_properties", "user_properties", "group_properties", "groups"):
        found[name] = cut(event.get(name) or {})
    return found


def text_of(value: Any) -> str | None:
    """Return a stored string: cut, and absent if it was empty."""
    return value[:LENGTH_MAX] if isinstance(value, str) and value else None


def id_of(value: Any) -> str | None:
    """Return an identifier as it is stored: trimmed text, and numbers as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int | float):
        value = str(value)
    return (value or "").strip()[:LENGTH_MAX].rstrip() or None


def cut(value: Any) -> Any:
    """Return a property value with its strings cut."""
    if isinstance(value, str):
        return value[:LENGTH_MAX]
    if isinstance(value, list):
        return [cut(item) for item in value]
    if isinstance(value, dict):
        return {key: cut(item) for key, item in value.items()}
    return value


def depth_of(value: Any) -> int:
    """Return how many layers of objects and lists a value has."""
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def _check_line(line: dict[str, Any], event: dict[str, Any], people: dict[str, Any]) -> None:
    """Check a line against its event, and against what the model says of people, if anything."""
    claim(depth_of(line["event_properties"]) <= DEPTH_MAX, "event_properties nest too deeply")
    wanted: dict[str, Any] = {
        "event_type": event["event_type"][:LENGTH_MAX],
        "user_id": id_of(event.get("user_id")),
        "event_properties": cut(event.get("event_properties") or {}),
        "session_id": -1 if event.get("session_id") is None else int(event["session_id"]),
        "$insert_id": text_of(event.get("insert_id")),
    }
    for name, value in people.items():
        if name not in ("amplitude_id", "first_event", "user_properties_updated"):
            wanted[name] = value
    for name in ("first_event", "user_properties_updated"):
        if name in people:
            claim((name in line["data"]) is people[name], f"data says {name} wrongly")
    device = id_of(event.get("device_id"))
    if any(event.get(name) is not None for name in REVENUE):
        # What revenue fields become is laid over the properties that were sent.
        wanted["event_properties"] |= {
            name: value for name, value in line["event_properties"].items() if name in BECOMES
        }
    wanted["device_id"] = device or derived_device_id(wanted["user_id"])
    for name in ("location_lat", "location_lng"):
        given = event.get(name)
        wanted[name] = None if given is None else float(given)
    if event.get("time") is not None:
        moment = _EPOCH + timedelta(milliseconds=int(event["time"]))
        wanted["client_event_time"] = f"{moment.isoformat(' ')[:19]}.{moment.microsecond:06d}"
    for name, value in wanted.items():
        claim(same(line[name], value), f"{name} is {line[name]!r:.200}, sent {value!r:.200}")


class _Ids:
    def random_bytes(self, count: int) -> bytes:
        return b"k" * count


@cache
def _store() -> ProcessingStore:
    # Nothing is ever committed to it, so that every input meets an empty database.
    folder = tempfile.mkdtemp(prefix="tailrace-fuzz-")
    return ProcessingStore.open(Path(folder) / "processing.sqlite", _Ids())


def close() -> None:
    """Close the database, so that the next input opens another."""
    _store().close()
    _store.cache_clear()
