"""Every operation of an identify with its edge cases, and all of them against a model."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.claims import same
from fuzz.people import ORDER
from fuzz.people import operated as model
from tailrace.process.operations import LIST_CHARACTERS_MAX, operated

decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def after(stored: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what an identify makes of stored properties, as parsed JSON."""
    texts = [json.dumps(one, ensure_ascii=False).encode() for one in (stored, wanted)]
    return json.loads(msgspec.json.encode(operated(*map(decode, texts))))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        pytest.param({"a": 1}, {"$set": {"a": 2, "b": [1]}}, {"a": 2, "b": [1]}, id="set"),
        pytest.param({"a": 1}, {"$set": {"a": None}}, {"a": None}, id="set null"),
        pytest.param({"a": 1}, {"$setOnce": {"a": 2, "b": 3}}, {"a": 1, "b": 3}, id="set once"),
        pytest.param({"a": None}, {"$setOnce": {"a": 2}}, {"a": 2}, id="set once over null"),
        pytest.param({"a": 1}, {"$unset": {"a": "-", "b": "-"}}, {}, id="unset"),
        pytest.param({"a": 1}, {"$clearAll": "-"}, {}, id="clear all"),
        pytest.param({"a": 1}, {"$clearAll": None}, {}, id="clear all with null"),
        pytest.param({"a": 1}, {"$clearAll": "-", "$add": {"a": 2}}, {"a": 2}, id="clear, then"),
        pytest.param({"a": 1}, {"$add": {"a": 2, "b": -3}}, {"a": 3, "b": -3}, id="add"),
        pytest.param({"a": 1}, {"$add": {"a": 0.5}}, {"a": 1.5}, id="add a fraction"),
        pytest.param({"a": None}, {"$add": {"a": 2}}, {"a": 2}, id="add to null"),
        pytest.param({"a": "2"}, {"$add": {"a": " 3 "}}, {"a": 5}, id="add texts of numbers"),
        pytest.param({"a": "x"}, {"$add": {"a": 1}}, {"a": "x"}, id="add to a text"),
        pytest.param({"a": [1]}, {"$add": {"a": 1}}, {"a": [1]}, id="add to a list"),
        pytest.param({"a": True}, {"$add": {"a": 1}}, {"a": True}, id="add to a flag"),
        pytest.param({"a": 1}, {"$add": {"a": "1_0", "b": "nan"}}, {"a": 1}, id="add no number"),
        pytest.param({"a": 1e308}, {"$add": {"a": 1e308}}, {"a": 1e308}, id="add too much"),
        pytest.param({"a": 2**63}, {"$add": {"a": 2**63}}, {"a": 2**64}, id="add large numbers"),
        pytest.param({}, {"$append": {"a": 1, "b": [1, 2]}}, {"a": [1], "b": [1, 2]}, id="append"),
        pytest.param({"a": 1}, {"$append": {"a": [1, 2]}}, {"a": [1, 1, 2]}, id="append to one"),
        pytest.param({"a": None}, {"$append": {"a": 1}}, {"a": [1]}, id="append to null"),
        pytest.param({"a": [3]}, {"$prepend": {"a": [1, 2]}}, {"a": [1, 2, 3]}, id="prepend"),
        pytest.param(
            {"a": [3, 1]}, {"$preInsert": {"a": [1, 2, 2]}}, {"a": [2, 3, 1]}, id="pre-insert"
        ),
        pytest.param(
            {"a": [3, 1]}, {"$postInsert": {"a": [2, 1.0]}}, {"a": [3, 1, 2]}, id="post-insert"
        ),
        pytest.param({"a": "x"}, {"$postInsert": {"a": "x"}}, {"a": ["x"]}, id="insert to itself"),
        pytest.param({"a": [1, 2, 1]}, {"$remove": {"a": 1}}, {"a": [2]}, id="remove all equal"),
        pytest.param(
            {"a": [1, True, "1", 1.0]}, {"$remove": {"a": 1}}, {"a": [True, "1"]}, id="remove kinds"
        ),
        pytest.param(
            {"a": [{"x": 1, "y": 2}]}, {"$remove": {"a": {"y": 2, "x": 1}}}, {"a": []}, id="objects"
        ),
        pytest.param({"a": 1}, {"$remove": {"a": 1, "b": 1}}, {"a": 1}, id="remove from no list"),
        pytest.param({"a": 1}, {"$delete": {"a": 1}}, {"a": 1}, id="unsupported"),
        pytest.param({"a": 1}, {"$set": "a", "$unset": ["a"]}, {"a": 1}, id="no object"),
        pytest.param(
            {"a": 1},
            {"a": 7, "$set": {"a": 2}, "$unset": {"a": "-"}},
            {"a": 7},
            id="plain keys come last",
        ),
        pytest.param(
            {"a": 1, "b": 1},
            {
                "$remove": {"l": 2},
                "$append": {"l": [1, 2]},
                "$add": {"b": 1},
                "$set": {"b": 5},
                "$unset": {"a": "-", "b": "-"},
                "$setOnce": {"a": 9, "b": 9},
                "$prepend": {"l": 0},
            },
            {"a": 9, "b": 6, "l": [0, 1]},
            id="in the server's order",
        ),
    ],
)
def test_an_identify_changes_properties(
    stored: dict[str, Any], wanted: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert same(after(stored, wanted), expected)
    assert same(model(stored, wanted), expected)


def test_lists_that_grow_too_long_are_cut_at_their_end() -> None:
    stored = {"a": ["é" * 90] * 100}

    appended = after(stored, {"$append": {"a": ["x" * 90] * 100}})["a"]
    prepended = after(stored, {"$prepend": {"a": ["x" * 90] * 100}})["a"]

    for found in (appended, prepended):
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        assert LIST_CHARACTERS_MAX - 93 <= len(text) <= LIST_CHARACTERS_MAX
    assert appended[:100] == stored["a"]
    assert set(prepended[:100]) == {"x" * 90}
    whole = {"$set": {"a": ["x"] * LIST_CHARACTERS_MAX}}
    assert after(stored, whole) == whole["$set"]


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("character", ["x", "é", "я", "\U0001f600", "\n", '"', "\\"])
def test_a_list_is_as_long_as_its_characters_however_they_are_written(
    character: str, escaped: bool
) -> None:
    """Python's SDK escapes all that is not ASCII: twelve characters of JSON for one emoji."""

    def written(value: Any) -> msgspec.Raw:
        return msgspec.Raw(json.dumps(value, ensure_ascii=escaped).encode())

    elements = [character * 1024] * 4

    found = operated({"a": written(elements[:2])}, {"$append": written({"a": elements[2:]})})

    assert json.loads(bytes(found["a"])) == elements


def test_a_list_that_was_set_longer_stays_and_gets_no_longer() -> None:
    long = ["x" * 90] * 200
    object_ = {str(number): "x" * 90 for number in range(200)}

    assert after({"a": long}, {"$postInsert": {"a": long[0]}})["a"] == long
    assert after({"a": long}, {"$append": {"a": "y"}})["a"] == long
    assert after({"a": long}, {"$prepend": {"a": "y" * 90}})["a"] == ["y" * 90, *long[1:]]
    assert after({"a": object_}, {"$append": {"a": "y"}})["a"] == [object_]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0.5, 1.0, -2.0, 1e300]),
    st.sampled_from(["", "x", "1", "-2.5", "1e3", " 7", "é", "#1"]),
)
values = st.recursive(
    scalars, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from("xy"), one)
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
wanted = st.builds(
    lambda plain, some: plain | some,
    objects,
    st.dictionaries(st.sampled_from([*ORDER, "$delete"]), objects | values, max_size=4),
)


@given(objects, st.lists(wanted, max_size=4))
def test_identifies_do_what_a_plain_model_of_the_rules_does(
    stored: dict[str, Any], identifies: list[dict[str, Any]]
) -> None:
    for one in identifies:
        expected = model(stored, one)
        assert same(after(stored, one), expected)
        stored = expected
