from __future__ import annotations

import uuid
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from tailrace.log.record import Entry, Record
from tailrace.process.event import Portion, name_rows

KEY = b"k" * 32


def portion(first: int, count: int, partition: int = 1, position: int = 7) -> Portion:
    record = Record(1, 2, "/batch", 0, None, "", count, b"")
    entry = Entry(partition, position, position + 1, 1_000_000, record)
    return Portion(entry, record, 0, first, None, [], [], [None] * count)


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
