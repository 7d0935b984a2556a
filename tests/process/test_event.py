from __future__ import annotations

import json
import uuid
from hashlib import blake2b
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tailrace.log.record import Entry, Record
from tailrace.process.enrich import derived_device_id
from tailrace.process.event import Portion, name_rows, portions_of

KEY = b"k" * 32


def portion(first: int, count: int, partition: int = 1, position: int = 7) -> Portion:
    record = Record(1, 2, "/batch", 0, None, "", count, b"")
    entry = Entry(partition, position, position + 1, 1_000_000, record)
    return Portion(entry, record, 0, first, b"", None, [], [], [None] * count)


def named(*portions: Portion, key: bytes = KEY) -> list[str]:
    name_rows(portions, key)
    return [text for one in portions for text in one.uuids]


@given(st.integers(0, 2000), st.integers(1, 40))
def test_a_uuid_does_not_depend_on_how_a_record_is_cut(first: int, count: int) -> None:
    together = named(portion(first, count))

    assert together == [named(portion(first + n, 1))[0] for n in range(count)]
    assert together == named(portion(0, first + count))[first:]
    assert together == named(*(portion(first + n, 1) for n in range(count)))


@given(st.integers(1, 99), st.integers(0, 2**60), st.integers(0, 3000))
def test_a_uuid_is_the_version_4_form_of_a_keyed_hash(
    partition: int, position: int, index: int
) -> None:
    name = f"{partition} {position} {index // 4}".encode()
    hashed = blake2b(name, key=KEY).digest()[index % 4 * 16 :][:16]
    one = portion(index, 1, partition, position)

    assert named(one) == [str(uuid.UUID(bytes=hashed, version=4))]
    assert one.event_ids == [int.from_bytes(hashed[10:], "big") % 999_999_999 + 1]


def test_uuids_are_distinct_and_of_version_4() -> None:
    made = named(*(portion(0, 30, partition, at) for partition in (1, 2, 11) for at in (1, 11, 12)))

    assert len(set(made)) == len(made) == 270
    for text in made:
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_another_key_makes_other_uuids() -> None:
    assert named(portion(0, 1)) != named(portion(0, 1), key=b"other")


def test_no_portions_have_no_names() -> None:
    name_rows([], KEY)


text = st.sampled_from(["", "a", '"', '\\"', "\\", "é", "a\u2028", '""'])
events = st.lists(
    st.fixed_dictionaries(
        {"event_type": text, "event_properties": st.dictionaries(text, text, max_size=2)},
        optional={"device_id": text, "user_id": text, "insert_id": text, "city": text},
    ),
    min_size=1,
    max_size=5,
)


@given(events, st.sampled_from([0, 10_000]), st.booleans())
def test_the_names_read_first_are_those_of_the_events_decoded_later(
    sent: list[dict[str, Any]], padding: int, ascii_only: bool
) -> None:
    body = json.dumps({"events": sent, "x": "x" * padding}, ensure_ascii=ascii_only).encode()
    record = Record(1, 2, "/batch", 0, None, "", len(sent), body)
    entry = Entry(1, 7, 8, 1_000_000, record)

    (portion,) = portions_of(entry, record, 0, lambda *name: repr(name).encode())

    for at, event in enumerate(portion.events()):
        device = event.device_id or (derived_device_id(event.user_id) if event.user_id else None)
        key = repr((2, device or "", event.insert_id)).encode()
        assert portion.devices[at] == device
        assert portion.users[at] == event.user_id
        assert portion.keys[at] == (None if event.insert_id is None else key)
        assert event.device_id != "" != event.user_id
