from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tailrace.process import loop
from tailrace.process.groups import GROUP_BYTES_MAX, group_lists, joined_groups


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("sent", "exported"),
    [
        ({"team": "a"}, {"team": ["a"]}),
        ({"team": ["a", "b"]}, {"team": ["a", "b"]}),
        ({"team": [1, 1.5, True, None, {}, [], ""]}, {"team": ["1", "1.5", "true"]}),
        ({"team": []}, {}),
        ({f"t{n}": "v" for n in range(7)}, {f"t{n}": ["v"] for n in range(5)}),
        (
            {"a": [str(n) for n in range(8)], "b": ["x", "y", "z"], "c": "w"},
            {"a": [str(n) for n in range(8)], "b": ["x", "y"]},
        ),
    ],
)
def test_groups_are_lists_of_strings_within_five_types_and_ten_values(
    sent: dict[str, Any], exported: dict[str, list[str]]
) -> None:
    assert group_lists(raw(sent)) == exported


EVENT = {"device_id": "device-1", "event_type": "open"}


def identify(groups: Any, properties: Any) -> dict[str, Any]:
    return {"event_type": "$groupidentify", "groups": groups, "group_properties": properties}


@pytest.mark.parametrize(
    ("first", "others", "joined"),
    [
        ({"a": "1"}, {"a": "2", "b": "3"}, {"a": ["1"], "b": ["3"]}),
        ({}, {"b": "3"}, {"b": ["3"]}),
        ({"a": "1"}, {}, {"a": ["1"]}),
        (
            {"a": "1"},
            {f"t{n}": "v" for n in range(5)},
            {"a": ["1"]} | {f"t{n}": ["v"] for n in range(4)},
        ),
        (
            {"a": [str(n) for n in range(9)]},
            {"b": ["x", "y"]},
            {"a": [str(n) for n in range(9)], "b": ["x"]},
        ),
    ],
)
def test_an_events_groups_come_before_those_that_its_user_keeps(
    first: Any, others: Any, joined: Any
) -> None:
    assert json.loads(bytes(joined_groups(raw(first), raw(others)))) == joined


def test_groups_of_an_event_are_its_own_and_those_of_an_identify_stay(bench: Any) -> None:
    bench.send(EVENT, {**EVENT, "groups": {"team": "a"}}, EVENT)
    bench.send({**EVENT, "event_type": "$identify", "groups": {"team": "b", "org": ["x", "y"]}})
    bench.send(EVENT, {**EVENT, "groups": {"team": "c"}}, EVENT)
    bench.send({**EVENT, "event_type": "$identify", "groups": {"org": "z"}}, EVENT)

    bench.run()

    kept = {"team": ["b"], "org": ["x", "y"]}
    assert [line["groups"] for line in bench.lines()] == [
        *({}, {"team": ["a"]}, {}),
        *(kept, {"team": ["c"], "org": ["x", "y"]}, kept),
        {"org": ["z"], "team": ["b"]},
    ]


@pytest.mark.parametrize("restarts", [True, False])
def test_lines_show_what_is_known_of_each_of_their_groups(bench: Any, restarts: bool) -> None:
    sent = [
        {**EVENT, "groups": {"org": ["acme", "other"]}},
        identify({"org": "acme"}, {"plan": "pro", "seats": 5}),
        {**EVENT, "groups": {"org": ["acme", "other"]}},
        identify({"org": ["acme", "other"]}, {"$add": {"seats": 1}, "$unset": {"plan": "-"}}),
        {**EVENT, "groups": {"org": ["acme", "other"]}},
        identify({"org": "acme"}, {"$unset": {"seats": "-"}}),
        {**EVENT, "groups": {"org": ["acme", "other"]}},
        {**EVENT, "groups": {"team": "acme"}},
        EVENT,
    ]
    for one in sent:
        bench.send(one)
        if restarts:
            bench.run()
            bench.crash()

    bench.run()

    assert [line["group_properties"] for line in bench.lines()] == [
        {},
        {"org": {"acme": {"plan": "pro", "seats": 5}}},
        {"org": {"acme": {"seats": 6}, "other": {"seats": 1}}},
        {"org": {"other": {"seats": 1}}},
        {},
        {},
    ]


@pytest.mark.parametrize("twice", [["acme", "acme"], [1, "1"], ["x" * 1024, "x" * 1024]])
def test_a_group_that_is_named_twice_is_changed_once(bench: Any, twice: Any) -> None:
    given = {"$add": {"seats": 1}, "$append": {"names": "a"}}
    bench.send(identify({"org": twice}, given), {**EVENT, "groups": {"org": twice}})

    bench.run()

    group = {str(twice[0]): {"seats": 1, "names": ["a"]}}
    assert bench.lines()[0]["group_properties"] == {"org": group}
    assert bench.lines()[0]["groups"] == {"org": list(map(str, twice))}


@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("last", [{"$clearAll": "-"}, {"$unset": {"plan": "-"}}])
def test_a_group_that_has_lost_its_last_property_is_left_out(
    bench: Any, last: Any, restarts: bool
) -> None:
    bench.send(identify({"org": "acme"}, {"plan": "pro"}), identify({"org": "acme"}, last))
    if restarts:
        bench.run()
        bench.crash()
    bench.send({**EVENT, "groups": {"org": "acme"}})

    bench.run()

    assert bench.lines()[0]["group_properties"] == {}


def test_a_type_is_cut_as_texts_are_wherever_it_is_named(bench: Any) -> None:
    long, cut = "é" * 5000, "é" * 1024
    bench.send(identify({long: "acme"}, {"plan": "pro"}))
    bench.send({**EVENT, "event_type": "$identify", "groups": {long: "acme"}})
    bench.send(EVENT, {**EVENT, "groups": {cut: "other"}})

    bench.run()

    first, second = bench.lines()
    assert (first["groups"], second["groups"]) == ({cut: ["acme"]}, {cut: ["other"]})
    assert first["group_properties"] == {cut: {"acme": {"plan": "pro"}}}
    # What a user keeps is in each of its lines: a request would grow without bounds.
    assert len(bench.raw()) < 20_000


def test_groups_of_one_project_are_not_those_of_another(bench: Any) -> None:
    bench.send(identify({"org": "acme"}, {"plan": "pro"}), project=300002)
    bench.send({**EVENT, "groups": {"org": "acme"}})

    bench.run()

    assert bench.lines()[0]["group_properties"] == {}


def test_group_properties_of_an_ordinary_event_change_nothing(bench: Any) -> None:
    given = {"groups": {"org": "acme"}, "group_properties": {"plan": "pro"}}
    bench.send({**EVENT, **given}, {**EVENT, **given, "event_type": "$identify"}, EVENT)

    bench.run()

    assert [line["group_properties"] for line in bench.lines()] == [{}, {}]
    assert bench.rows("SELECT * FROM group_property") == []


def test_a_group_with_too_many_properties_keeps_those_it_has(bench: Any) -> None:
    long = {f"p{n}": "x" * 1000 for n in range(GROUP_BYTES_MAX // 1000 + 1)}
    groups = {"org": "acme"}
    bench.send(identify(groups, {"a": 1}), identify(groups, long), {**EVENT, "groups": groups})

    bench.run()

    assert bench.lines()[0]["group_properties"] == {"org": {"acme": {"a": 1}}}
    assert bench.processor.updates_dropped == 1


def test_a_stream_of_new_groups_does_not_fill_the_memory(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "GROUP_CACHE_BYTES", 50_000)
    bench.crash()
    for number in range(40):
        groups = [{"org": f"g{number * 50 + n}"} for n in range(50)]
        bench.send(*(identify(one, {"a": 1}) for one in groups))
        bench.send(*({**EVENT, "groups": one} for one in groups))
        bench.run()

    assert len(bench.processor._state.groups._joined) == 50
    recent = bench.processor._state.groups._recent
    assert 0 < sum(map(len, (*recent._young.values(), *recent._old.values()))) < 300
