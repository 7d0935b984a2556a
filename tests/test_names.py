"""A name is kept composed, can be seen, and is compared as it is kept."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tailrace.errors import BadRequest
from tailrace.names import NAME_CHARACTERS_MAX, checked_name, folded_name, is_name

COMPOSED, TYPED = "Zürich ﬁ Ấ 각", unicodedata.normalize("NFD", "Zürich ﬁ Ấ 각")


def test_a_name_is_kept_composed_and_without_blanks_around_it() -> None:
    assert TYPED != COMPOSED
    assert checked_name(f"  {TYPED}\n", "project") == COMPOSED
    assert checked_name(COMPOSED, "project") == COMPOSED


def test_a_name_is_as_long_as_it_is_kept() -> None:
    longest = "Ấ" * NAME_CHARACTERS_MAX
    assert checked_name(unicodedata.normalize("NFD", longest), "project") == longest
    # Composed, it is two characters.
    doubled = "\u0958" * NAME_CHARACTERS_MAX
    for name in (longest + "x", doubled, "e" + "\u0301" * 100_000):
        with pytest.raises(BadRequest, match=r"name the project .*1 to 255 characters"):
            checked_name(name, "project")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a\nb",
        "a\u202eb",
        "\u2800",
        "\u3164\u3164",
        "\u115f\u1160",
        "\uffa0",
        "\u2800 \u3164",
        "\u0301",
        "\ufe0f",
        "\u034f",
        # Joiners join: nothing is at one of their sides here.
        "\u200d",
        "\u200da",
        "a\u200c",
        "a\u200c\u200db",
        "a \u200cb",
        "a\u200c b",
    ],
)
def test_a_name_of_which_nothing_can_be_seen_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="printable and at least one visible"):
        checked_name(name, "project")


@pytest.mark.parametrize(
    "name",
    [
        *("x", "7", "-", "€", "😀", "❤\ufe0f", "日本", "\u3164x", "a\u2800"),
        *("می\u200cخواهم", "क्\u200dष", "👨\u200d👩\u200d👧 shop"),
    ],
)
def test_one_character_that_can_be_seen_is_enough(name: str) -> None:
    assert checked_name(name, "project") == name


def test_a_typed_name_is_the_kept_one_however_it_is_composed() -> None:
    assert is_name(f" {TYPED} ", COMPOSED)
    # As an earlier release kept it.
    assert is_name(COMPOSED, TYPED)
    assert not is_name(COMPOSED.upper(), COMPOSED)
    assert not is_name("", COMPOSED)
    assert not is_name("e" + "\u0301" * 100_000, COMPOSED)


def test_what_can_not_be_seen_makes_no_other_name() -> None:
    for joiner in "\u200c\u200d":
        assert folded_name(f"Wa{joiner}re") == folded_name("ware")
        assert is_name("Ware", f"Wa{joiner}re")
        assert is_name(f"Wa{joiner}re", "Ware")


printable = st.characters(exclude_categories=("C", "Z"), include_characters=" \u200c\u200d")


@settings(deadline=None)
@given(st.text(printable, min_size=1, max_size=30))
def test_what_is_kept_is_kept_as_it_is(text: str) -> None:
    try:
        kept = checked_name(text, "project")
    except BadRequest:
        assume(condition=False)
    assert checked_name(kept, "project") == kept
    assert is_name(text, kept)
    for typed in (kept, unicodedata.normalize("NFD", kept), kept.casefold()):
        assert folded_name(typed) == folded_name(kept)
    assert checked_name(unicodedata.normalize("NFD", kept), "project") == kept
