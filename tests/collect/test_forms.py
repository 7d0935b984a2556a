"""Forms are read whole or refused, within their bounds."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.collect.forms import (
    FIELDS_MAX,
    PART_HEADER_BYTES_MAX,
    PART_HEADERS_MAX,
    BadForm,
    UnknownForm,
    read_form,
)

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=edge"

names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
fields = st.dictionaries(names, st.binary(max_size=200), max_size=FIELDS_MAX)


def part(name: str, value: bytes, *headers: bytes) -> bytes:
    lines = [b'Content-Disposition: form-data; name="%s"' % name.encode(), *headers]
    return b"--edge\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + value + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


@given(fields, st.booleans())
def test_an_urlencoded_form_comes_back_as_it_was(sent: dict[str, bytes], in_query: bool) -> None:
    text = urlencode(sent).encode()
    query, body = (text, b"") if in_query else (b"", text)
    assert read_form(query, URLENCODED, body) == sent


@given(fields)
def test_a_multipart_form_comes_back_as_it_was(sent: dict[str, bytes]) -> None:
    sent = {name: value for name, value in sent.items() if b"\r\n--edge" not in value}
    body = multipart(*[part(name, value) for name, value in sent.items()])
    assert read_form(b"", MULTIPART, body) == sent


@given(
    st.binary(max_size=300),
    st.sampled_from([URLENCODED, MULTIPART, b"", b"multipart/form-data", b"text/html", b'\xff;="']),
    st.lists(
        st.sampled_from([
            b"--edge", b"--edge--", b"\r\n", b"\r", b"\n", b"-", b'name="a"', b"name=",
            b"Content-Disposition: form-data; ", b"%", b"%4", b"&", b"=", b":", b";", b"a",
        ]),
        max_size=40,
    ).map(b"".join),
)  # fmt: skip
def test_any_bytes_are_a_form_or_are_refused(query: bytes, kind: bytes, body: bytes) -> None:
    try:
        found = read_form(query, kind, body)
    except (BadForm, UnknownForm):
        return
    assert len(found) <= FIELDS_MAX
    assert sum(map(len, found.values())) <= len(query) + len(body)


@given(
    st.integers(0, 3),
    st.lists(st.sampled_from(["%41", "%", "%4", "%%", "x", "%e9%zz"]), min_size=1, max_size=9),
)
def test_long_values_are_unquoted_as_if_at_once(shift: int, units: list[str]) -> None:
    text = "y" * shift + "".join(units) * (40_000 // len("".join(units)))
    assert read_form(b"", URLENCODED, b"a=" + text.encode()) == {"a": unquote_to_bytes(text)}


def test_query_and_body_are_one_form() -> None:
    assert read_form(b"a=1", URLENCODED, b"b=2&") == {"a": b"1", "b": b"2"}
    assert read_form(b"a=%C3%A9+%25&b", b"", b"") == {"a": "é %".encode(), "b": b""}


@pytest.mark.parametrize("kind", [b"", URLENCODED + b";charset=UTF-8", b"text/plain"])
def test_a_form_may_say_little_of_itself(kind: bytes) -> None:
    assert read_form(b"", kind, b"a=1") == {"a": b"1"}


def test_a_part_may_be_a_file() -> None:
    body = multipart(
        b'--edge\r\ncontent-disposition: form-data; name="a"; filename="a.json"\r\n'
        b"Content-Type: application/json\r\n\r\n[1]\r\n"
    )
    assert read_form(b"", MULTIPART, body) == {"a": b"[1]"}


NAMELESS = b"--edge\r\nContent-Type: text/plain\r\n\r\n1\r\n"
BROKEN: list[tuple[str, bytes, bytes, bytes]] = [
    ("a field twice", b"", URLENCODED, b"a=1&a=2"),
    ("in query and body", b"a=1", URLENCODED, b"a=1"),
    ("too many", b"", URLENCODED, b"&".join(b"a%d=1" % n for n in range(FIELDS_MAX + 1))),
    ("too many together", b"&".join(b"q%d" % n for n in range(FIELDS_MAX)), URLENCODED, b"a=1"),
    ("a million", b"", URLENCODED, b"&" * 1_000_000),
    ("no boundary", b"", b"multipart/form-data", multipart(part("a", b"1"))),
    ("another boundary", b"", b"multipart/form-data; boundary=x", multipart(part("a", b"1"))),
    ("cut off", b"", MULTIPART, multipart(part("a", b"1"))[:-10]),
    ("cut off in a value", b"", MULTIPART, part("a", b"1")[:-3]),
    ("nothing in it", b"", MULTIPART, b"a=1"),
    ("no name", b"", MULTIPART, multipart(NAMELESS)),
    ("a part twice", b"", MULTIPART, multipart(part("a", b"1"), part("a", b"2"))),
    ("many parts", b"", MULTIPART, multipart(*[part(f"a{n}", b"") for n in range(FIELDS_MAX + 1)])),
    (
        "a long header",
        b"",
        MULTIPART,
        multipart(part("a", b"1", b"X: " + b"x" * PART_HEADER_BYTES_MAX)),
    ),
    ("many headers", b"", MULTIPART, multipart(part("a", b"1", *[b"X: y"] * PART_HEADERS_MAX))),
]


@pytest.mark.parametrize(
    ("query", "kind", "body"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_broken_form_is_refused(query: bytes, kind: bytes, body: bytes) -> None:
    with pytest.raises(BadForm):
        read_form(query, kind, body)


@pytest.mark.parametrize(
    ("query", "body", "told"),
    [
        (b"api_key=1", b"api_key=1", "The form has the field api_key more than once; query and"),
        (b"", b'{"secret":1}&{"secret":1}', "The form has a field more than once; query and"),
    ],
)
def test_a_field_that_comes_twice_is_named_unless_it_looks_like_a_value(
    query: bytes, body: bytes, told: str
) -> None:
    with pytest.raises(BadForm, match=told):
        read_form(query, URLENCODED, body)


def test_names_that_are_no_ascii_are_not_taken_for_each_other() -> None:
    found = read_form("é=1&è=2".encode(), URLENCODED, b"a=3&%e9=4")
    assert (len(found), found["a"]) == (4, b"3")


def test_json_is_no_form() -> None:
    with pytest.raises(UnknownForm, match="application/json"):
        read_form(b"", b"application/json", b"{}")
