from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from tailrace.log.record import Entry
from tailrace.process.event import event_id_of, uuid_texts

KEY = b"k" * 32


def entry(partition: int = 1, position: int = 7) -> Entry:
    return Entry(partition, position, position + 1, 1_000_000, None)


@given(st.integers(0, 2000), st.integers(1, 40))
def test_a_uuid_does_not_depend_on_how_a_record_is_cut(first: int, count: int) -> None:
    together = uuid_texts(KEY, entry(), first, count)

    assert together == [uuid_texts(KEY, entry(), first + n, 1)[0] for n in range(count)]
    assert together == uuid_texts(KEY, entry(), 0, first + count)[first:]


def test_uuids_are_distinct_and_of_version_4() -> None:
    made = [
        text
        for partition in (1, 2, 11)
        for position in (1, 11, 12)
        for text in uuid_texts(KEY, entry(partition, position), 0, 30)
    ]

    assert len(set(made)) == len(made)
    for text in made:
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_another_key_makes_other_uuids() -> None:
    assert uuid_texts(KEY, entry(), 0, 1) != uuid_texts(b"other", entry(), 0, 1)


@given(st.integers(0, 5000))
def test_an_event_id_is_between_1_and_999999999(index: int) -> None:
    (text,) = uuid_texts(KEY, entry(), index, 1)

    assert 1 <= event_id_of(text) <= 999_999_999
