from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.seal import names

HOUR = Hour.parse("2020-01-25T17")

hours = st.integers(0, 24 * 365 * 200).map(Hour)
projects = st.integers(1, 10**12)
segments = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/*?$\\"),
    min_size=1,
    max_size=20,
).filter(lambda text: text not in {".", ".."})
prefixes = st.lists(segments, max_size=5).map(lambda parts: "".join(f"{p}/" for p in parts))


def test_the_documented_names() -> None:
    assert names.file_name(187520, HOUR, 1) == "187520_2020-01-25_17#1.json.gz"
    assert names.file_name(-189524, HOUR, names.NO_NUMBER) == "-189524_2020-01-25_17.json.gz"


def test_the_hour_of_the_day_is_not_padded() -> None:
    assert names.file_name(1, Hour.parse("2020-01-25T05"), 12) == "1_2020-01-25_5#12.json.gz"
    assert names.file_name(1, Hour.parse("2020-01-25T00"), 1) == "1_2020-01-25_0#1.json.gz"


def test_the_keys_of_an_hour() -> None:
    assert names.file_key("a/b/", 187520, HOUR, 2) == "a/b/187520/187520_2020-01-25_17#2.json.gz"
    assert names.file_key("", -189524, HOUR, 0) == "-189524/-189524_2020-01-25_17.json.gz"
    assert names.manifest_key("a/", 187520, HOUR) == (
        "a/_manifests/187520/187520_2020-01-25_17.json"
    )
    assert names.marker_key("a/", 187520, HOUR) == "a/187520/187520_2020-01-25_17_complete"
    assert names.marker_key("", -189524, HOUR) == "-189524/-189524_2020-01-25_17_complete"


def test_a_hash_is_escaped_in_urls_and_nowhere_else() -> None:
    key = names.file_key("data/", 187520, HOUR, 1)
    assert names.url_path(key) == "data/187520/187520_2020-01-25_17%231.json.gz"


@given(prefixes, projects, hours, st.integers(1, 10**6))
def test_a_url_leads_back_to_its_key(prefix: str, project: int, hour: Hour, number: int) -> None:
    key = names.file_key(prefix, project, hour, number)
    url = urlsplit("https://bucket.example/" + names.url_path(key))
    assert (url.query, url.fragment) == ("", "")
    assert unquote(url.path[1:]) == key


@given(projects, hours, st.integers(1, 10**6))
def test_names_are_read_back(project: int, hour: Hour, number: int) -> None:
    parsed = names.parse_file_name(names.file_name(project, hour, number))
    assert parsed == names.FileName(project, hour, number)
    merged = names.parse_file_name(names.file_name(-project, hour, names.NO_NUMBER))
    assert merged == names.FileName(-project, hour, names.NO_NUMBER)


@pytest.mark.parametrize(
    "name",
    [
        "187520_2020-01-25_17.json.gz",
        "187520_2020-01-25_17#0.json.gz",
        "187520_2020-01-25_17#01.json.gz",
        "187520_2020-01-25_05#1.json.gz",
        "187520_2020-01-25_24#1.json.gz",
        "187520_2020-02-30_1#1.json.gz",
        "-189524_2020-01-25_17#1.json.gz",
        "0_2020-01-25_17#1.json.gz",
        "187520_2020-01-25_17#1.json.gz\n",
        "x187520_2020-01-25_17#1.json.gz",
        "187520_2020-01-25_17_complete",
        f"187520_2020-01-25_17#{'1' * 5000}.json.gz",
        f"{'1' * 5000}_2020-01-25_17#1.json.gz",
        "",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="not the name of an exported file"):
        names.parse_file_name(name)


@given(st.text())
def test_whatever_is_read_is_a_name_that_would_be_written(text: str) -> None:
    try:
        parsed = names.parse_file_name(text)
    except BadRequest:
        return
    assert names.file_name(parsed.scope, parsed.hour, parsed.number) == text


@given(prefixes)
def test_a_prefix_of_segments_is_taken_as_it_is(prefix: str) -> None:
    assert names.check_prefix(prefix) == prefix


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("amplitude", "does not end with a slash"),
        ("/", "empty"),
        ("/a/", "empty"),
        ("a//b/", "empty"),
        ("../", "is . or .."),
        ("a/../b/", "is . or .."),
        ("a/./", "is . or .."),
        ("a\nb/", "control character"),
        ("a\x7fb/", "control character"),
        ("a*/", "asterisk"),
        ("a?/", "question mark"),
        ("${aws:username}/", r"\$\{"),
        ("a\\b/", "backslash"),
        ("\ud800/", "Unicode"),
        ("é" * 448 + "/", "longer than 896 bytes"),
    ],
)
def test_a_prefix_that_leaves_its_folder_is_refused(prefix: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        names.check_prefix(prefix)


def test_the_longest_keys_fit_into_s3() -> None:
    prefix = "p" * (names.PREFIX_BYTES_MAX - 1) + "/"
    assert names.check_prefix(prefix) == prefix
    scope, hour = -(10**18), Hour(24 * 365 * 200)
    for key in (
        names.file_key(prefix, -scope, hour, 10**9),
        names.manifest_key(prefix, scope, hour),
        names.marker_key(prefix, scope, hour),
    ):
        assert len(key.encode()) <= 1024
