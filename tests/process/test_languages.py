from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.process.languages import (
    _OVERRIDES,
    _SEEN_MAX,
    _english_names,
    _foreign_names,
    _seen,
    _tags,
    language_name,
)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("en", "English"),
        ("en-US", "English"),
        ("en_us", "English"),
        ("EN", "English"),
        ("American English", "English"),
        ("english (united kingdom)", "English"),
        ("angielski (Wielka Brytania)", "English"),
        ("zh_cn", "Chinese"),
        ("zh-Hans-CN", "Chinese"),
        ("da", "Danish"),
        ("Deutsch", "German"),
        ("Deutsch (Schweiz)", "German"),
        ("français", "French"),
        ("日本語", "Japanese"),
        ("nl", "Dutch"),
        ("nl-BE", "Flemish"),
        ("nl_be", "Flemish"),
        ("Dutch (Belgium)", "Flemish"),
        ("ro-MD", "Moldavian"),
        ("ro", "Romanian"),
        ("albanian (albania)", "Sanskrit"),
        (" de ", "German"),
        ("ga_IE", "Ga"),
        ("Irish", "Irish"),
        ("Gaeilge (Éire)", "Irish"),
        ("gaa", "Ga"),
    ],
)
def test_tags_and_names_become_the_english_name_of_the_base_language(sent: str, name: str) -> None:
    assert language_name(sent) == name


@pytest.mark.parametrize(("tag", "name"), _OVERRIDES.items())
def test_the_published_exceptions_beat_cldr(tag: str, name: str) -> None:
    assert language_name(tag.upper()) == name


@pytest.mark.parametrize("sent", ["Klingonese", "x", "tlhIngan (Qo'noS)", "(", "???", "-"])
def test_what_no_table_knows_is_kept(sent: str) -> None:
    assert language_name(f" {sent} ") == sent


def test_a_name_that_was_found_is_its_own() -> None:
    names = {*_tags().values(), *_english_names().values(), *_foreign_names().values()}

    assert {name: language_name(name) for name in names} == {name: name for name in names}


@settings(deadline=None)  # The first unknown name loads all tables.
@given(st.text(max_size=30))
def test_any_text_has_a_name_and_a_second_look_changes_nothing(text: str) -> None:
    name = language_name(text)

    assert language_name(name) == name


def test_what_is_remembered_of_spellings_has_a_limit() -> None:
    for number in range(2 * _SEEN_MAX):
        language_name(f"spelling {number}")
    long = [f"{number} {'x' * 1_000}" for number in range(10)]
    assert [language_name(text) for text in long] == long

    assert not set(long) & _seen.keys()
    assert len(_seen) <= _SEEN_MAX


def test_lines_have_the_name(bench: Any) -> None:
    bench.send(
        {"device_id": "device-1", "event_type": "e", "language": "de-AT"},
        {"device_id": "device-2", "event_type": "e", "language": "Quenya of old"},
        {"device_id": "device-3", "event_type": "e"},
        {"device_id": "device-4", "event_type": "e", "language": "  "},
    )

    bench.run()

    assert [line["language"] for line in bench.lines()] == ["German", "Quenya of old", None, None]
