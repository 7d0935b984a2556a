from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import Corrupt, NewerFormat
from tailrace.log.record import Record, decode_record, encode_record

micros = st.integers(min_value=-(2**62), max_value=2**62)
records = st.builds(
    Record,
    organization=st.integers(0, 2**53),
    project=st.integers(0, 2**53),
    endpoint=st.text(max_size=40),
    received_micros=micros,
    client_upload_micros=st.none() | micros,
    client_address=st.text(max_size=60),
    events=st.integers(0, 10_000),
    body=st.binary(max_size=2_000),
)
places = st.tuples(st.integers(1, 100), st.integers(0, 2**53), st.integers(-1, 2000))


def stored(record: Record) -> bytes:
    return b"".join(encode_record(record))


@given(records)
def test_a_record_comes_back_as_it_was_stored(record: Record) -> None:
    assert decode_record(memoryview(stored(record))) == record


@given(records, places)
def test_a_retried_record_names_what_it_repeats(
    record: Record, place: tuple[int, int, int]
) -> None:
    retried = msgspec.structs.replace(record, retry_of=place)
    assert decode_record(memoryview(stored(retried))) == retried


@given(records)
def test_the_body_is_handed_on_without_a_copy(record: Record) -> None:
    assert encode_record(record)[1] is record.body


@given(records, st.data())
def test_a_record_that_was_cut_is_corrupt(record: Record, data: st.DataObject) -> None:
    whole = stored(record)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Corrupt):
        decode_record(memoryview(whole[:cut]))


@given(records)
def test_bytes_behind_a_record_are_corrupt(record: Record) -> None:
    with pytest.raises(Corrupt):
        decode_record(memoryview(stored(record) + b"x"))


def test_a_record_of_a_newer_release_is_refused(make_record: Callable[..., Record]) -> None:
    data = bytearray(stored(make_record()))
    data[0] += 1
    with pytest.raises(NewerFormat, match="newer release"):
        decode_record(memoryview(data))
