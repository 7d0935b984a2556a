"""What is accepted is never held: each event becomes one exact line, or is counted otherwise.

Events are made of the values at which rules begin and end; the oracle is that of the fuzzer.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import journey, request
from fuzz.claims import Finding

NUMBERS = st.sampled_from([
    "0", "-0", "-0.0", "0.1", "1.0", "1e2", "1E+2", "1e308", "-1.7976931348623157e308", "1e999",
    "5e-324", "1e-400", "9007199254740993", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "253402300799999", "253402300800000", "-1", "1.5e12", "NaN", "Infinity",
]) | st.integers(10**300, 10**312).map(str)  # fmt: skip
TEXTS = st.sampled_from(
    [
        '""', '" "', '"user-1"', '"1234"', '"12345"', '" 12345 "', '"\\u0000"', '"\\ud83d\\ude00"',
        '"\\ud83d"', '"\\udc00\\ud800"', '"😀"', '"\u2028\u0085\ufeff"', '"\\r\\n\\t"', '"a\nb"',
        '"a\tb"', '"\\u003a:"', '"\\"\\\\"', '"\\/"', '"anonymous"', '"{}"', '"$remote"', '"\x7f"',
        f'"{"é" * 1023}😀"', f'"{"x" * 1024}"', f'"{"x" * 1025}"', f'"{"x" * 1020}     y"',
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    ['""', '"a"', '"\\u0061"', '"$set"', '"$unset"', '"\\u0024set"', '":"', '"\\ud800"', '"\u2028"']
) | st.just(f'"{"k" * 2000}"')
LAYOUT = st.sampled_from(["", " ", "\n", "\r\n", "\t", "\n  "])
SCALARS = st.one_of(NUMBERS, TEXTS, st.sampled_from(["null", "true", "false"]))


def _list(items: list[str]) -> str:
    return f"[{','.join(items)}]"


def _object(pairs: list[tuple[str, str]]) -> str:
    return f"{{{','.join(f'{key}:{value}' for key, value in pairs)}}}"


def _nested(depth: int, kind: str) -> str:
    begin, end = ('{"a":', "}") if kind == "object" else ("[", "]")
    return begin * depth + "1" + end * depth


DEPTHS = st.sampled_from([5, 6, 7, 39, 40, 41, 300])
DEEP = st.builds(_nested, DEPTHS, st.sampled_from(["object", "list"]))
VALUES = st.recursive(
    SCALARS | DEEP,
    lambda inner: (
        st.lists(inner, max_size=3).map(_list)
        | st.lists(st.tuples(KEYS, inner), max_size=3).map(_object)
    ),
    max_leaves=6,
)
OBJECTS = st.lists(st.tuples(KEYS, VALUES), max_size=3).map(_object)
FIELDS = st.sampled_from([
    "user_id", "device_id", "time", "session_id", "event_id", "insert_id", "event_properties",
    "user_properties", "groups", "group_properties", "price", "quantity", "location_lat",
    "platform", "language", "ip", "plan", "ingestion_metadata", "$skip_user_properties_sync",
    "app_version", "idfa", "paying", "start_version", "unknown",
])  # fmt: skip


# What is accepted, most of it only just: one wrong value refuses a whole body.
GOOD_TEXTS = st.sampled_from([
    '"user-1"', '"12345"', '" 12345 "', '"\\ud83d\\ude00 is one"', '"😀 is one"', '"a:b,c"',
    '"\\u003a and \\"\\\\"', '"\\u0000 and \u2028"', f'"{"é" * 1023}😀"', f'"{"x" * 1025}"',
])  # fmt: skip
GOOD_NUMBERS = st.sampled_from(["0", "-0", "1.0", "1e2", "253402300799999", "9007199254740993"])
GOOD_VALUES = st.recursive(
    GOOD_TEXTS
    | NUMBERS.filter(lambda text: text not in ("1e999", "NaN", "Infinity") and len(text) < 99)
    | st.sampled_from(["null", "true", "false"])
    | st.builds(_nested, st.sampled_from([5, 6, 7, 39]), st.sampled_from(["object", "list"])),
    lambda inner: (
        st.lists(inner, max_size=3).map(_list)
        | st.dictionaries(KEYS.filter(lambda key: "d800" not in key), inner, max_size=1).map(
            lambda found: _object(list(found.items()))
        )
    ),
    max_leaves=6,
)
GOOD_OBJECTS = st.tuples(KEYS.filter(lambda key: "d800" not in key), GOOD_VALUES).map(
    lambda pair: _object([pair])
)
GOOD_FIELDS: dict[str, st.SearchStrategy[str]] = {
    **dict.fromkeys(["user_id", "device_id", "platform", "ip", "insert_id", "idfa"], GOOD_TEXTS),
    **dict.fromkeys(["session_id", "event_id", "time", "quantity"], GOOD_NUMBERS),
    **dict.fromkeys(["price", "location_lat"], GOOD_NUMBERS | st.just("-0.0") | st.just("1e308")),
    **dict.fromkeys(["event_properties", "user_properties", "group_properties"], GOOD_OBJECTS),
    "groups": (GOOD_TEXTS | GOOD_TEXTS.map("[{}]".format)).map('{{"team":{}}}'.format),
    "plan": st.builds('{{"branch":{}}}'.format, GOOD_TEXTS),
    "$skip_user_properties_sync": st.sampled_from(["true", "false", "null"]),
    "paying": GOOD_TEXTS | st.sampled_from(["true", "false", "null"]),
    "unknown": GOOD_VALUES,
}


@st.composite
def good_events(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(sorted(GOOD_FIELDS)), max_size=6, unique=True))
    pairs = {
        '"event_type"': draw(st.sampled_from(['"Opened"', '"$identify"']) | GOOD_TEXTS),
        '"user_id"': '"user-1"',
    }
    for name in names:
        pairs[json.dumps(name)] = draw(GOOD_FIELDS[name])
    space = draw(LAYOUT)
    return "{" + f",{space}".join(f"{key}{space}:{value}" for key, value in pairs.items()) + "}"


@st.composite
def events(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(['"Opened"', '"$identify"', '"$groupidentify"']) | TEXTS)
    pairs = {'"event_type"': kind}
    if draw(st.integers(0, 9)):
        pairs['"user_id"'] = '"user-1"'
    for name in draw(st.lists(FIELDS, max_size=4, unique=True)):
        # Mostly what the field is for, else few bodies would be accepted.
        wanted = OBJECTS if "properties" in name or name == "groups" else SCALARS
        pairs[json.dumps(name)] = draw(wanted if draw(st.integers(0, 4)) else VALUES)
    space = draw(LAYOUT)
    text = f",{space}".join(f"{key}{space}:{space}{value}" for key, value in pairs.items())
    return f"{{{space}{text}{space}}}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    is_good = draw(st.integers(0, 3)) > 0
    one = good_events() if is_good else events()
    sent = f'"api_key":"k","events":[{",".join(draw(st.lists(one, min_size=1, max_size=3)))}]'
    for name in ("options", "client_upload_time", "request_metadata"):
        if not is_good and not draw(st.integers(0, 5)):
            sent += f',"{name}":{draw(VALUES)}'
    body = f"{{{sent}}}".encode()
    if not draw(st.integers(0, 9)):
        body = b"\xef\xbb\xbf" + body
    return draw(st.sampled_from([b"", b" ", b"\n"])) + body


@pytest.fixture(scope="module", autouse=True)
def opened() -> Iterator[None]:
    yield
    request.close()
    journey.close()


# Each example goes through the whole collector and the processor; fewer would find little.
@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), st.integers(0, 127))
def test_whatever_is_accepted_becomes_exact_lines(body: bytes, way: int) -> None:
    request.target(bytes([way]) + body)


@settings(max_examples=40, deadline=None)
@given(bodies(), st.data())
def test_no_gzip_stream_is_more_than_a_4xx(body: bytes, data: Any) -> None:
    packed = bytearray(gzip.compress(body, mtime=0))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))

    request.target(b"\x09" + bytes(packed[:cut]))


def test_the_oracle_sees_an_altered_line(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'\x00{"api_key":"k","events":[{"event_type":"a","user_id":"user-1","session_id":7}]}'
    request.target(body)
    process = journey.process

    for change in (
        lambda lines: lines * 2,
        lambda lines: b"",
        lambda lines: lines.replace(b'"session_id":7', b'"session_id":8'),
        lambda lines: lines.replace(b'"event_properties":{}', b'"event_properties":NaN'),
        lambda lines: lines.replace(b'"paying":null,', b""),
        lambda lines: lines.replace(b"\n", b"\r\n"),
    ):

        def altered(record: Any, change: Any = change) -> Any:
            lines, tally, held = process(record)
            return change(lines), tally, held

        monkeypatch.setattr(journey, "process", altered)
        with pytest.raises(Finding):
            request.target(body)
