"""What of a person stays, from event to event, over restarts and merges."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tailrace.process import loop
from tailrace.process.memory import StateNeeded
from tailrace.process.persons import Persons
from tailrace.process.sets import SET_BYTES_MAX

EVENT = {"device_id": "device-1", "event_type": "open", "time": 1_700_000_000_000}
IDENTIFY = {"device_id": "device-1", "event_type": "$identify"}
GROUPS = {"event_type": "$groupidentify"}
DEVICE = {
    "platform": "iOS",
    "os_name": "ios",
    "os_version": "18.1",
    "device_brand": "Apple",
    "device_manufacturer": "Apple Inc",
    "device_model": "iPhone",
    "carrier": "Blue",
}
PLACE = {"country": "Chile", "region": "Maule", "city": "Talca", "dma": "none"}
COLUMNS = ["platform", "os_name", "os_version", "device_brand", "device_manufacturer"]
COLUMNS += ["device_model", "device_carrier"]


def run(bench: Any, *sent: dict[str, Any]) -> list[Any]:
    """Send each for itself, with a restart after each; return the lines."""
    for one in sent:
        bench.send(one)
        bench.run()
        bench.crash()
    return bench.lines()  # type: ignore[no-any-return]  # a bench is of no type


@pytest.mark.parametrize("kind", ["open", "$identify"])
def test_one_of_the_device_set_resets_the_rest_and_none_leaves_all(bench: Any, kind: str) -> None:
    lines = run(bench, {**EVENT, **DEVICE}, EVENT, {**EVENT, "event_type": kind, "carrier": "Red"})
    lines = run(bench, {**EVENT, **PLACE})

    found = [tuple(line[name] for name in COLUMNS) for line in lines]
    reset = (*[None] * 6, "Red")
    more = [reset] if kind == "open" else []
    assert found == [tuple(DEVICE.values())] * 2 + more + [reset]


@pytest.mark.parametrize("kind", ["open", "$identify"])
def test_one_of_the_location_set_resets_the_rest(bench: Any, kind: str) -> None:
    lines = run(bench, {**EVENT, **PLACE}, EVENT, {**EVENT, "event_type": kind, "city": "Lima"})
    lines = run(bench, {**EVENT, **DEVICE})

    found = [tuple(line[name] for name in PLACE) for line in lines]
    reset = (None, None, "Lima", None)
    more = [reset] if kind == "open" else []
    assert found == [tuple(PLACE.values())] * 2 + more + [reset]


def test_language_and_version_stay_and_address_library_and_place_on_earth_do_not(
    bench: Any,
) -> None:
    own = {"ip": "198.51.100.1", "library": "sdk/1", "location_lat": 1.5, "location_lng": 2.5}
    lines = run(bench, {**EVENT, **own, "language": "Dutch", "app_version": "1.0"}, EVENT)

    assert [(line["language"], line["version_name"]) for line in lines] == [("Dutch", "1.0")] * 2
    names = ("ip_address", "library", "location_lat", "location_lng")
    assert [lines[1][name] for name in names] == [None, "http/2.0", None, None]


def test_an_event_without_sync_neither_reads_nor_writes(bench: Any) -> None:
    stored = {**EVENT, **DEVICE, **PLACE, "language": "Dutch", "app_version": "1.0", "price": 1.0}
    skips = {"$skip_user_properties_sync": True, "user_properties": {"b": 2}, "price": 2.0}
    lines = run(
        bench,
        {**IDENTIFY, "groups": {"team": "x"}},
        {**stored, "user_properties": {"a": 1}},
        {**EVENT, **skips, "city": "Lima", "version_name": "2.0", "groups": {"org": "acme"}},
        {**IDENTIFY, **skips, "groups": {"team": "y"}, "user_properties": {"$set": {"c": 3}}},
        EVENT,
    )

    before, skipped, later = lines
    assert skipped["user_properties"] == {"b": 2}
    assert (skipped["groups"], later["groups"]) == ({"org": ["acme"]}, {"team": ["x"]})
    own = {"city": "Lima", "version_name": "2.0", "country": None, "platform": None}
    own |= {"language": None, "start_version": None, "paying": None}
    assert {name: skipped[name] for name in own} == own
    assert skipped["user_creation_time"] == before["user_creation_time"]
    kept = ("user_properties", *own)
    assert [later[name] for name in kept] == [before[name] for name in kept]
    assert "user_properties_updated" not in skipped["data"]


def test_the_first_event_is_the_first_though_it_syncs_nothing(bench: Any) -> None:
    lines = run(bench, {**EVENT, "$skip_user_properties_sync": True}, {**EVENT, "time": 1})

    assert [line["data"].get("first_event") for line in lines] == [True, None]
    assert len({line["user_creation_time"] for line in lines}) == 1


def test_a_person_made_by_an_identify_is_new_until_the_first_event(bench: Any) -> None:
    lines = run(bench, {**IDENTIFY, "user_properties": {"$set": {"a": 1}}}, EVENT, EVENT)

    assert [line["data"].get("first_event") for line in lines] == [True, None]
    assert lines[0]["user_creation_time"] == lines[0]["event_time"]
    assert lines[0]["user_properties"] == {"a": 1}


def test_nothing_is_retroactive_and_order_is_that_of_receipt(bench: Any) -> None:
    lines = run(
        bench,
        {**EVENT, "user_properties": {"a": 1}},
        {**IDENTIFY, "user_properties": {"$set": {"a": 2}}},
        {**EVENT, "time": 1, "user_properties": {"a": 3}},
        EVENT,
    )

    assert [line["user_properties"]["a"] for line in lines] == [1, 3, 3]


def test_a_duplicate_changes_nothing(bench: Any) -> None:
    once = {**EVENT, "insert_id": "one", "user_properties": {"a": 1}}
    identify = {**IDENTIFY, "insert_id": "two", "user_properties": {"$add": {"n": 1}}}
    lines = run(
        bench,
        once,
        identify,
        {**once, "user_properties": {"a": 2}, **DEVICE, "groups": {"team": "x"}},
        identify,
        EVENT,
    )

    assert lines[-1]["user_properties"] == {"a": 1, "n": 1}
    assert lines[-1]["platform"] is None
    assert bench.counts()["duplicates"] == 2


@pytest.mark.parametrize(
    ("sent", "paying"),
    [
        ([{"revenue": 1.5}], [True, True]),
        ([{"price": 2.0}], [True, True]),
        ([{"price": 2.0, "quantity": 0, "revenue": 9.0}], [None, None]),
        ([{"revenue": 1.5}, {"revenue": -1.5}], [True, True, True]),
        ([{"price": -2.0, "quantity": 3}], [None, None]),
        ([{"revenue": 0.0}], [None, None]),
        ([{"event_properties": {"$revenue": 3}}], [True, True]),
        ([{"event_properties": {"$price": 3, "$quantity": 2}}], [True, True]),
        ([{"event_properties": {"$revenue": True, "$price": "3", "revenue": 4}}], [None, None]),
        ([{"event_type": "$identify", "paying": "True"}], [True]),
        ([{"event_type": "$identify", "paying": "false"}], [False]),
        ([{"event_type": "$identify", "paying": "soon"}], [None]),
        ([{"event_type": "$identify", "paying": False}, {"revenue": 1.0}], [True, True]),
        ([{"revenue": 1.0}, {"event_type": "$identify", "paying": False}], [True, False]),
        ([{"revenue": 1.0, "paying": False}], [True, True]),
    ],
)
def test_who_brought_revenue_pays(bench: Any, sent: list[Any], paying: list[Any]) -> None:
    lines = run(bench, *({**EVENT, **one} for one in sent), EVENT)

    assert [line["paying"] for line in lines] == paying


def test_an_identify_may_say_the_start_version(bench: Any) -> None:
    lines = run(
        bench,
        {**EVENT, "app_version": "1.0", "start_version": "no event says so"},
        {**IDENTIFY, "start_version": "0.1", "app_version": "2.0"},
        {**EVENT, "app_version": "3.0"},
        EVENT,
        {**IDENTIFY, "start_version": "0.2"},
        EVENT,
    )

    found = [(line["start_version"], line["version_name"]) for line in lines]
    assert found == [("1.0", "1.0"), ("0.1", "3.0"), ("0.1", "3.0"), ("0.2", "3.0")]


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("kind", ["open", "$identify"])
def test_a_merge_lays_the_losers_properties_over_the_survivors_in_every_project(
    bench: Any, kind: str, one_by_one: bool
) -> None:
    """The device is anonymous in projects 1 and 2, its user is known in projects 1 and 3."""
    one, two, three = bench.project, 300002, 300003
    user = {**EVENT, "device_id": "device-2", "user_id": "user-1"}
    sent = [
        (one, {**user, "time": 2_000, **PLACE, "user_properties": {"a": "u", "b": "u"}}),
        (three, {**user, "user_properties": {"a": "u"}}),
        (one, {**EVENT, "time": 3_000, **DEVICE, "user_properties": {"a": "d", "c": "d"}}),
        (one, {**EVENT, "app_version": "1.0", **PLACE, "city": "Lima", "revenue": 1.0}),
        (two, {**EVENT, "time": 4_000, "user_properties": {"a": "d"}, "language": "Dutch"}),
        (two, {**IDENTIFY, "groups": {"team": "x"}}),
        (two, {**GROUPS, "groups": {"team": "x"}, "group_properties": {"p": 1}}),
        (three, {**EVENT, "event_type": kind, "user_id": "user-1", "user_properties": {"e": 1}}),
        (one, {**EVENT, "user_properties": {"f": 1}}),
        (two, {**user}),
        (three, EVENT),
    ]  # fmt: skip
    for project, event in sent:
        bench.send(event, project=project)
        if one_by_one:
            bench.run()
            bench.crash()
    bench.run()

    here, other, third = bench.lines(one)[-1], bench.lines(two)[-1], bench.lines(three)[-1]
    assert len({line["amplitude_id"] for line in (here, other, third)}) == 1
    assert here["user_properties"] == {"a": "d", "b": "u", "c": "d", "f": 1}
    assert (here["city"], here["platform"]) == ("Talca", "iOS")
    assert (here["start_version"], here["paying"]) == ("1.0", True)
    assert here["user_creation_time"] == "1970-01-01 00:00:02.000000"
    assert other["user_properties"] == {"a": "d"}
    assert other["user_creation_time"] == "1970-01-01 00:00:04.000000"
    assert "first_event" not in other["data"]
    assert other["language"] == "Dutch"
    assert other["groups"] == {"team": ["x"]}
    assert other["group_properties"] == {"team": {"x": {"p": 1}}}
    # Plain keys of an identify are sets as well.
    assert third["user_properties"] == {"a": "u", "e": 1}


def test_a_merge_of_more_than_is_remembered_is_counted_and_keeps_the_users_own(bench: Any) -> None:
    """Each has what fits, in two projects; both together have more."""
    mine, theirs = ({f"{who}{n}": "x" * 1000 for n in range(20)} for who in "ud")
    user = {**EVENT, "device_id": "device-2", "user_id": "user-1"}
    for project in (bench.project, 300002):
        bench.send({**user, "user_properties": mine}, project=project)
        bench.send({**EVENT, "user_properties": theirs}, project=project)
        bench.run()
        bench.crash()
    bench.send({**EVENT, "user_id": "user-1", "user_properties": {"a": 1}})
    bench.run()

    assert bench.processor.updates_dropped == 2
    assert bench.lines()[-1]["user_properties"] == mine | {"a": 1}


def test_a_merge_within_one_request_is_foreseen(bench: Any) -> None:
    user = {**EVENT, "device_id": "device-2", "user_id": "user-1"}
    bench.send({**user, "user_properties": {"a": "u"}}, project=300002)
    bench.run()
    bench.crash()
    bench.send(
        {**EVENT, "user_properties": {"b": "d"}},
        {**EVENT, "user_id": "user-1"},
        {**EVENT, "device_id": "device-3", "user_properties": {"c": "d"}},
        {**EVENT, "device_id": "device-3", "user_id": "user-1"},
        project=300002,
    )
    bench.run()

    found = [line["user_properties"] for line in bench.lines(300002)]
    assert found == [
        *({"a": "u"}, {"b": "d"}, {"a": "u", "b": "d"}),
        *({"c": "d"}, {"a": "u", "b": "d", "c": "d"}),
    ]


def test_nobody_is_merged_who_was_not_looked_up_in_all_projects(bench: Any) -> None:
    persons = Persons(bench.store.connection, 1_000_000)
    persons.begin_batch(next_amplitude_id=10)
    persons.look_up(1, {3, 4})
    persons.look_up_whole({3})

    with pytest.raises(StateNeeded):
        persons.merge(3, 4, [])
    persons.merge(3, 11, [])


def test_nobody_is_new_who_was_not_looked_up_in_the_project(bench: Any) -> None:
    persons = Persons(bench.store.connection, 1_000_000)
    persons.begin_batch(next_amplitude_id=10)
    persons.look_up(1, {3})
    persons.look_up_whole({4})

    for project, amplitude_id in ((1, 5), (2, 3)):
        with pytest.raises(StateNeeded):
            persons.check_new(project, amplitude_id)
    for project, amplitude_id in ((1, 3), (1, 4), (2, 4), (2, 10)):
        persons.check_new(project, amplitude_id)


def test_persons_of_the_second_format_are_kept(tmp_path: Path, make_bench: Any) -> None:
    bench = make_bench(tmp_path / "data")
    bench.send({**EVENT, "app_version": "1.0", "revenue": 1.0}, {**EVENT, "device_id": "device-2"})
    bench.run()
    persons = bench.rows("SELECT * FROM person")
    bench.stop()
    connection = sqlite3.connect(tmp_path / "data" / "processing.sqlite")
    connection.executescript(
        """
        UPDATE meta SET value = 2 WHERE name = 'format';
        DROP TABLE user_property;
        ALTER TABLE person RENAME TO new;
        CREATE TABLE person (project INTEGER NOT NULL, amplitude_id INTEGER NOT NULL,
            first_event_micros INTEGER NOT NULL, start_version TEXT, paying INTEGER,
            PRIMARY KEY (project, amplitude_id)) WITHOUT ROWID;
        CREATE TABLE user_property (project INTEGER NOT NULL, amplitude_id INTEGER NOT NULL,
            properties BLOB NOT NULL, PRIMARY KEY (project, amplitude_id)) WITHOUT ROWID;
        INSERT INTO person
            SELECT project, amplitude_id, first_event_micros, start_version, paying FROM new;
        DROP TABLE new;
        """
    )
    connection.close()

    bench.start()
    bench.send({**EVENT, "user_properties": {"a": 1}})
    bench.run()

    assert bench.lines()[-1]["start_version"] == "1.0"
    assert bench.lines()[-1]["paying"] is True
    assert "first_event" not in bench.lines()[-1]["data"]
    assert [row[:5] for row in bench.rows("SELECT * FROM person")] == [row[:5] for row in persons]
    assert bench.rows("SELECT value FROM meta WHERE name = 'format'") == [(3,)]


@pytest.mark.parametrize("length", [1, 2 * SET_BYTES_MAX])
def test_people_with_much_to_remember_do_not_fill_the_memory(
    bench: Any, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(loop, "PERSON_CACHE_BYTES", 200_000)
    bench.crash()
    for number in range(20):
        bench.send(
            *(
                {
                    "event_type": "e",
                    "device_id": f"d{number:06}{n}",
                    "platform": f"{n}".ljust(length),
                    "user_properties": {"a": "x" * length},
                }
                for n in range(40)
            )
        )
        bench.run()

    persons = bench.processor._state.persons
    recent = persons._recent
    kept = sum(map(len, (*recent._young.values(), *recent._old.values())))
    assert 0 < kept * (600 + length) < 300_000
    assert len(persons._devices._texts) <= 40


def test_sets_beyond_what_is_kept_are_forgotten_between_batches(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.process.sets.SETS_MAX", 10)
    for number in range(5):
        sent = [{**EVENT, "city": f"{number} {n}", "carrier": f"{n}"} for n in range(8)]
        bench.send(*sent)
        bench.run()

    persons = bench.processor._state.persons
    assert len(persons._places._texts) <= 16
    assert len(persons._devices._by_text) == 8
    assert [line["city"] for line in bench.lines()][-8:] == [f"4 {n}" for n in range(8)]
