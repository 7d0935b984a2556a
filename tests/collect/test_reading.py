"""The fast and the strict way come to the same; no body makes either of them fail."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.collect.answers import Refused
from tailrace.collect.counters import Counters
from tailrace.collect.fast import open_fast
from tailrace.collect.limits import Limits
from tailrace.collect.reading import open_upload
from tailrace.collect.rules import Accepted
from tailrace.collect.strict import open_strict
from tailrace.upload import Upload, UploadEvent

LIMITS = Limits()
RAW_FIELDS = ("event_properties", "user_properties", "groups", "group_properties")


def read(body: bytes) -> Accepted | Refused:
    try:
        return open_upload(body, LIMITS, Counters()).accept()
    except Refused as refused:
        return refused


def read_strict(body: bytes) -> Accepted | Refused:
    try:
        return open_strict(body, LIMITS).accept()
    except Refused as refused:
        return refused


def plain(body: bytes) -> list[dict[str, Any]]:
    """Return the stored events as the processor decodes them."""
    events: list[dict[str, Any]] = []
    for event in msgspec.json.decode(body, type=Upload).events:
        fields = {name: getattr(event, name) for name in UploadEvent.__struct_fields__}
        for name in RAW_FIELDS:
            assert b"\n" not in bytes(fields[name])
            fields[name] = json.loads(bytes(fields[name]))
            assert isinstance(fields[name], dict)
        events.append(fields)
    return events


text = st.text(st.characters(codec="utf-8"), max_size=12)
long_text = st.sampled_from(["x" * 1024, "x" * 1025, "é" * 1025, "a:b", '":', "\\u003a", "\n"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
    long_text,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)
properties = st.dictionaries(text, values, max_size=4)
ids = st.sampled_from(["user-1", " user-2", "12345", "é" * 1030, "anonymous", "abc", "", " "])
odd = st.one_of(values, st.just({"a": "b"}))
known: dict[str, st.SearchStrategy[Any]] = {
    "user_id": ids | odd,
    "device_id": ids | odd,
    "time": st.integers(-1, 2**50) | odd,
    "session_id": st.integers(-1, 2**64) | odd,
    "event_properties": properties | odd,
    "user_properties": properties | odd,
    "groups": st.dictionaries(text, text | st.lists(text | st.integers(), max_size=3), max_size=3)
    | odd,
    "price": st.floats(allow_nan=False) | st.integers() | odd,
    "platform": text | odd,
    "plan": st.fixed_dictionaries({}, optional={"branch": text, "versionId": text, "x": odd}) | odd,
    "$skip_user_properties_sync": st.booleans() | odd,
    "paying": st.booleans() | text | odd,
    "insert_id": text,
    "no_known_key": odd,
}
events = st.fixed_dictionaries(
    {"event_type": st.sampled_from(["Opened", "$groupidentify", " ", "a" * 1030]) | text},
    optional=known,
)
well_formed = st.fixed_dictionaries(
    {"event_type": text.filter(str.strip), "user_id": st.sampled_from(["user-1", "user-2"])},
    optional={"event_properties": properties, "time": st.integers(0, 2**41), "insert_id": text},
)
uploads = st.fixed_dictionaries(
    {"api_key": st.just("k"), "events": st.lists(well_formed | events, min_size=1, max_size=4)},
    optional={
        "options": st.fixed_dictionaries({}, optional={"min_id_length": st.integers(-1, 9)}),
        "request_metadata": values,
        "client_upload_time": text,
        "more": values,
    },
)
layouts = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"separators": (", ", " : "), "ensure_ascii": False},
        {"indent": 1},
        {},
    ]
)


@settings(max_examples=150, deadline=None)
@given(uploads, layouts)
def test_both_ways_refuse_the_same_and_store_the_same(
    upload: dict[str, Any], layout: dict[str, Any]
) -> None:
    body = json.dumps(upload, **layout).encode()

    either, strict = read(body), read_strict(body)

    if isinstance(strict, Refused):
        assert isinstance(either, Refused)
        assert either.answer == strict.answer
        assert 400 <= strict.answer.status < 500
    else:
        assert isinstance(either, Accepted)
        assert either.events == strict.events == len(upload["events"])
        assert plain(either.body) == plain(strict.body)


@settings(max_examples=100, deadline=None)
@given(uploads, layouts)
def test_the_canonical_form_is_canonical(upload: dict[str, Any], layout: dict[str, Any]) -> None:
    stored = read(json.dumps(upload, **layout).encode())

    if isinstance(stored, Accepted):
        again = read_strict(stored.body)
        # A request's own minimum length is not kept, so shorter ids can't pass a second time.
        if not (upload.get("options") or {}).get("min_id_length", 5) < 5:
            assert isinstance(again, Accepted)
            assert plain(again.body) == plain(stored.body)


@settings(max_examples=100, deadline=None)
@given(uploads, st.data())
def test_a_key_repeated_anywhere_is_never_accepted(upload: dict[str, Any], data: Any) -> None:
    body = json.dumps(upload)
    spots = [at for at, character in enumerate(body) if character == "{"]
    at = data.draw(st.sampled_from(spots))
    key = data.draw(st.sampled_from(['"q"', '"event_type"', '"\\u003a"', '":"', '"api_key"']))
    value = data.draw(st.sampled_from(["1", '"user-1"', '"::"', '"\\u003a"', "null", "{}"]))
    alike = {'"q"': '"\\u0071"'}.get(key, key)
    twice = f"{body[: at + 1]}{key} :{value},{alike}:{value}{body[at + 1 :]}"
    # An empty object would end in a comma; inside a text nothing is repeated.
    twice = twice.replace(f"{alike}:{value}}}", f"{alike}:{value},}}").replace(",}", "}")
    try:
        json.loads(twice, object_pairs_hook=_refuse_repeated)
    except _Repeated:
        assert isinstance(read(twice.encode()), Refused)
    except ValueError:
        assert isinstance(read(twice.encode()), Refused)


class _Repeated(Exception):
    pass


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _Repeated


@settings(max_examples=150, deadline=None)
@given(uploads, st.data())
def test_no_damaged_body_is_ever_more_than_a_4xx(upload: dict[str, Any], data: Any) -> None:
    body = bytearray(json.dumps(upload).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["replace", "insert", "delete"]))
        byte = data.draw(st.sampled_from(b'{}[]",:\\u0eN-\n\x00\xff') | st.integers(0, 255))
        if kind == "insert":
            body.insert(at, byte)
        elif kind == "replace" or len(body) == 1:
            body[at] = byte
        else:
            del body[at]

    either, strict = read(bytes(body)), read_strict(bytes(body))

    assert isinstance(either, Refused) == isinstance(strict, Refused)
    if isinstance(either, Refused):
        assert 400 <= either.answer.status < 500
    else:
        plain(either.body)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_no_bytes_at_all_are_ever_more_than_a_4xx(body: bytes) -> None:
    outcome = read(body)

    assert isinstance(outcome, Refused)
    assert 400 <= outcome.answer.status < 500


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "a", "user_id": "user-1", "event_properties": {"url": "https://x.y/:z"}},
        {"event_type": "a", "device_id": "device-1", "event_properties": {"a": 'say "é": \\'}},
        {"event_type": "a", "user_id": "user-1", "event_properties": {"a": [{"b": {"c": [1]}}]}},
        {"event_type": "a", "user_id": "user-1", "price": 3, "$skip_user_properties_sync": False},
        {"event_type": "a", "user_id": "user-1", "device_id": None, "no_known_key": ":"},
    ],
)
def test_what_sdks_send_takes_the_fast_way(event: dict[str, Any]) -> None:
    body = json.dumps({"api_key": "k", "events": [event], "request_metadata": {"sdk": {}}})
    opened = open_fast(body.encode(), LIMITS)

    assert opened is not None
    assert opened.accept() == Accepted(body.encode(), 1, None)


@pytest.mark.parametrize(
    "keys",
    [
        '"user_id":"user-1","user_id":"user-1"',
        '"user_id":"user-1","device_id":null,"device_id":null',
        '"user_id":"user-1","event_properties":{"a":1,"a":1}',
        '"user_id":"user-1","event_properties":{"a":1,"\\u0061":1}',
        '"user_id":"user-1","event_properties":{},"event_properties":{}',
        '"user_id":"user-1","event_properties":{"a":{"b":1,"b":1}}',
        '"user_id":"user-1","event_properties":{"a":[{"b":1,"b":1}]}',
        '"user_id":"user-1","user_properties":{"a":1,"a":1}',
        '"user_id":"user-1","groups":{"a":"b","a":"b"}',
        '"user_id":"user-1","group_properties":{"a":1,"a":1}',
        '"user_id":"user-1","plan":{"branch":"a","branch":"a"}',
        '"user_id":"user-1","own":1,"own":1',
        '"user_id":"user-1","own":{"a":1,"a":1}',
    ],
)
@pytest.mark.parametrize("more", ["", ',"options":{"min_id_length":5}', ',"request_metadata":{}'])
def test_the_fast_way_accepts_no_repeated_key(keys: str, more: str) -> None:
    event = f'{{"event_type":"a",{keys}}}'
    body = f'{{"api_key":"k","events":[{event}]{more}}}'.encode()
    sound = f'{{"api_key":"k","events":[{{"event_type":"a","user_id":"user-1"}}]{more}}}'.encode()

    refused, accepted = open_fast(body, LIMITS), open_fast(sound, LIMITS)

    assert refused is None or refused.accept() is None
    assert accepted is not None
    assert accepted.accept() == Accepted(sound, 1, None)


def test_only_short_identifiers_can_fold_to_an_invalid_one() -> None:
    changed = [
        letter
        for letter in map(chr, range(sys.maxunicode + 1))
        if letter.lower().isascii() and len(letter.lower()) != 1
    ]

    assert changed == []


@pytest.mark.parametrize("given", ["UNDEFINED", "Un\u212anown", "LMY47D", "N/A", "{}", ""])
@pytest.mark.parametrize("name", ["user_id", "device_id"])
def test_an_invalid_identifier_is_found_in_any_case(name: str, given: str) -> None:
    events = [{"event_type": "a", name: given}]
    options = {"min_id_length": 1}
    body = json.dumps({"api_key": "k", "events": events, "options": options}).encode()
    opened = open_fast(body, LIMITS)

    assert opened is not None
    assert opened.accept() is None
    assert isinstance(read(body), Refused)


@pytest.mark.parametrize("given", [" long-enough", "long-enough\t", "\u3000long-enough", "ab"])
@pytest.mark.parametrize("name", ["user_id", "device_id"])
def test_an_identifier_to_be_trimmed_or_refused_is_left_to_the_strict_way(
    name: str, given: str
) -> None:
    body = json.dumps({"api_key": "k", "events": [{"event_type": "a", name: given}]}).encode()
    opened = open_fast(body, LIMITS)

    assert opened is not None
    assert opened.accept() is None


def test_nesting_that_only_an_ignored_key_has_is_not_kept() -> None:
    deep = "[" * 500 + "]" * 500
    body = (
        f'{{"api_key":"k","events":[{{"event_type":"a","user_id":"user-1","x":{deep}}}],'
        f'"request_metadata":{deep},"y":{deep}}}'
    )

    stored = read(body.encode())

    assert isinstance(stored, Accepted)
    assert b"[[" not in stored.body


@pytest.mark.parametrize("place", ['"x":{}', '"plan":{{"x":{}}}'])
@pytest.mark.parametrize("digits", [309, 400])
def test_a_number_that_no_double_holds_is_refused_where_it_is_ignored_too(
    place: str, digits: int
) -> None:
    odd = place.format("1" + "0" * digits)
    body = f'{{"api_key":"k","events":[{{"event_type":"a","user_id":"user-1",{odd}}}]}}'.encode()

    either, strict = read(body), read_strict(body)

    assert isinstance(either, Refused)
    assert isinstance(strict, Refused)
    assert either.answer == strict.answer
    assert "out of range" in either.answer.body.decode()


NUMBERS = ["1.50", "1E5", "1e-7", "-0.0", "0.10000000000000000001", "12345678901234567.125", "1.0"]


@pytest.mark.parametrize("number", [*NUMBERS, "123456789012345678901234567890"])
@pytest.mark.parametrize("field", ["event_properties", "user_properties", "group_properties"])
def test_numbers_stay_as_they_were_written_beside_text_that_is_cut(field: str, number: str) -> None:
    kept = '{"a":[%s,{"b":%s}],"c":"%s"}'
    event = '{"api_key":"k","events":[{"event_type":"a","user_id":"user-1","%s":%s}]}'

    accepted = read((event % (field, kept % (number, number, "x" * 1025))).encode())

    assert isinstance(accepted, Accepted)
    stored = getattr(msgspec.json.decode(accepted.body, type=Upload).events[0], field)
    assert bytes(stored).decode() == kept % (number, number, "x" * 1024)


@pytest.mark.parametrize("number", ["1.7e12", "1700000000000.00", "17000000000000e-1"])
def test_a_whole_number_may_be_written_in_any_way(number: str) -> None:
    event = b'{"event_type":"a","user_id":%b,"time":%b,"price":%b,"groups":{"a":%b}}'
    one = number.encode()

    accepted = read(b'{"api_key":"k","events":[' + event % (one, one, one, one) + b"]}")

    assert isinstance(accepted, Accepted)
    (stored,) = plain(accepted.body)
    assert (stored["user_id"], stored["time"]) == ("1700000000000", 1_700_000_000_000)
    assert (stored["price"], stored["groups"]) == (1.7e12, {"a": "1700000000000"})
