"""Large bodies: decoded event by event, with bounded memory, to the same result."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.collect.answers import Refused
from tailrace.collect.counters import Counters
from tailrace.collect.limits import Limits
from tailrace.collect.pieces import split_events
from tailrace.collect.reading import open_upload
from tailrace.collect.rules import Accepted
from tailrace.collect.strict import open_strict

WHOLE = Limits()
# Every body is a large one here.
PIECES = Limits(inline_bytes_max=0, values_max=0)
MEBIBYTE = 1_048_576


def outcome(body: bytes, limits: Limits) -> Accepted | bytes:
    try:
        return open_strict(body, limits).accept()
    except Refused as refused:
        return refused.answer.body


def event(**keys: Any) -> dict[str, Any]:
    return {"event_type": "Opened", "user_id": "user-1", **keys}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {"event_type": st.sampled_from(["Opened", " "]), "user_id": st.sampled_from(["user-1", "a"])},
    optional={"event_properties": values, "time": values, "more": values},
)
uploads = st.fixed_dictionaries(
    {},
    optional={
        "api_key": st.just("k") | values,
        "events": st.lists(events | values, max_size=4) | values,
        "options": st.just({"min_id_length": 1}) | values,
        "client_upload_time": values,
        "more": values,
    },
)


@settings(max_examples=200, deadline=None)
@given(uploads, st.sampled_from([None, 1]))
def test_a_body_cut_into_events_comes_to_the_same(
    upload: dict[str, Any], indent: int | None
) -> None:
    body = json.dumps(upload, indent=indent).encode()

    assert outcome(body, PIECES) == outcome(body, WHOLE)


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1"}],"api_key":"k"}',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1"}],"events":[{}]}',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1","user_id":"user-2"}]}',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1","price":NaN}]}',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"\xff"}]}',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"\\ud800abcde"}]}',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1"}]',
        b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1"}]} x',
        b'{"api_key":"k","events":[[]]}',
        b'{"api_key":"k","ev\\u0065nts":[{"event_type":" "}]}',
        b'\xef\xbb\xbf{"api_key":"k","events":[{"event_type":"a","user_id":"user-1"}]}',
        b"[" * 100_000,
        b"null",
        b" ",
    ],
)
def test_odd_bodies_cut_into_events_are_answered_alike(body: bytes) -> None:
    assert outcome(body, PIECES) == outcome(body, WHOLE)


def test_an_equal_list_elsewhere_in_the_body_hides_no_event() -> None:
    body = b'{"api_key":"k","events":[{"a":1}],"more":[{"a":1}]}'
    rest, pieces = split_events(body)

    assert pieces is not None
    assert [bytes(piece) for piece in pieces] == [b'{"a":1}']
    assert sorted(json.loads(rest)) == ["api_key", "events", "more"]


def packed(part: str, size: int) -> bytes:
    """Return a body of about `size` bytes whose one event holds the part again and again."""
    many = ",".join([part] * (size // (len(part) + 1)))
    return (
        json.dumps({"api_key": "k", "events": [event(event_properties={})]})
        .replace('"event_properties": {}', f'"event_properties": {{"a": [{many}]}}')
        .encode()
    )


@pytest.mark.parametrize("part", ["[]", '{"a":1}', '"ab"', "1.5"])
def test_a_body_packed_with_small_values_is_a_413_and_takes_no_memory(part: str) -> None:
    body = packed(part, 8 * MEBIBYTE)
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            open_upload(body, WHOLE, Counters()).accept()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert refused.value.answer.status == 413
    assert b"An event holds too many" in refused.value.answer.body
    assert peak < 3 * len(body)


def test_a_large_batch_is_decoded_event_by_event() -> None:
    properties = {f"k{number}": f"v{number}" for number in range(1500)}
    upload = {"api_key": "k", "events": [event(event_properties=properties)] * 500}
    body = json.dumps(upload, indent=0).encode()
    tracemalloc.start()
    try:
        accepted = open_upload(body, WHOLE, Counters()).accept()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert accepted.events == 500
    assert json.loads(accepted.body)["events"][499]["event_properties"] == properties
    assert peak < 5 * len(body)
