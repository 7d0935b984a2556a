"""How lines look by the options of a project, which an hour keeps from its first record on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from powercut.mmdb import write_mmdb
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.process.places import Places
from tailrace.process.render import ExtendedLine, Line
from tailrace.seal.manifest import EVENTS_SCHEMA, EXTENDED_SCHEMA
from tailrace.state.processing import HourSettings

NEWER = ["$insert_key", "data_type", "global_user_properties", "partner_id", "plan", "source_id"]
EVENT = {
    "device_id": "device-1",
    "event_type": "open",
    "ip": "203.0.113.7",
    "location_lat": 52.09,
    "location_lng": 5.12,
    "partner_id": "partner-7",
    "plan": {"branch": "main", "source": "web", "version": "3", "versionId": "v-1"},
}
LEAST = {"device_id": "device-1", "event_type": "least"}
EXTENDED = HourSettings(extended_columns=True)


def keys_of(kind: type[Line]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def stored(bench: Any, hour: Hour) -> dict[str, Any]:
    (row,) = bench.rows(f"SELECT settings FROM project_hour WHERE hour = {hour.number}")
    settings: dict[str, Any] = json.loads(row[0])
    return settings


def test_without_options_a_line_has_49_keys_a_number_an_address_and_a_location(bench: Any) -> None:
    bench.send(EVENT)

    bench.run()

    (line,) = bench.lines()
    assert list(line) == keys_of(Line)
    assert (len(line), line["$schema"]) == (49, 12)
    assert (line["ip_address"], line["location_lat"]) == ("203.0.113.7", 52.09)
    assert line["location_lng"] == 5.12


def test_the_manifests_numbers_of_keys_are_those_of_the_lines() -> None:
    assert EVENTS_SCHEMA.keys == len(keys_of(Line))
    assert EXTENDED_SCHEMA.keys == len(keys_of(ExtendedLine))


def test_extended_columns_stand_behind_the_others(bench: Any) -> None:
    bench.settings = EXTENDED
    bench.send(EVENT, {"user_id": "shopper-9", "event_type": "$identify"}, LEAST)

    bench.run()

    full, least = bench.lines()
    assert list(full) == list(least) == [*keys_of(Line), *NEWER]
    assert [full[name] for name in NEWER] == [
        None,
        "event",
        None,
        "partner-7",
        {"branch": "main", "source": "web", "version": "3", "versionId": "v-1"},
        None,
    ]
    assert [least[name] for name in NEWER] == [None, "event", None, None, {}, None]
    assert stored(bench, bench.hour)["extended_columns"] is True


def test_an_extended_line_is_a_line_with_more_behind_it(bench: Any) -> None:
    bench.settings = EXTENDED
    bench.send(EVENT, LEAST)

    bench.run()

    tail = (
        b',"$insert_key":null,"data_type":"event","global_user_properties":null,'
        b'"partner_id":"partner-7","plan":{"branch":"main","source":"web","version":"3",'
        b'"versionId":"v-1"},"source_id":null}'
    )
    first, second = bench.raw().splitlines()
    assert first.endswith(tail)
    # A reader of the 49 keys reads it, and finds all of them.
    narrow = msgspec.json.decode(first, type=Line)
    assert msgspec.json.encode(narrow)[:-1] + tail == first
    whole = msgspec.json.decode(second, type=ExtendedLine)
    assert msgspec.json.encode(whole) == second


@pytest.mark.parametrize(
    ("plan", "shown"),
    [
        ({}, {}),
        ({"branch": "main"}, {"branch": "main"}),
        ({"branch": "", "version": "3", "more": 1}, {"version": "3"}),
        ({"source": "größe\u2028"}, {"source": "größe\u2028"}),
    ],
)
def test_a_plan_shows_the_texts_that_are_there(bench: Any, plan: Any, shown: Any) -> None:
    bench.settings = EXTENDED
    bench.send({**EVENT, "plan": plan, "partner_id": ""})

    bench.run()

    (line,) = bench.lines()
    assert (line["plan"], line["partner_id"]) == (shown, None)


def test_each_line_shows_its_own_event_where_some_have_none(bench: Any) -> None:
    bench.settings = EXTENDED
    bench.send({**EVENT, "insert_id": "a", "partner_id": "first"})
    bench.send(
        {**EVENT, "insert_id": "a", "partner_id": "duplicate"},
        {**EVENT, "event_type": "$identify", "partner_id": "identify"},
        {**EVENT, "insert_id": "b", "partner_id": "second"},
        {**EVENT, "insert_id": "b", "partner_id": "duplicate"},
        {**EVENT, "insert_id": "c", "partner_id": "third"},
    )

    bench.run()

    shown = [(line["$insert_id"], line["partner_id"]) for line in bench.lines()]
    assert shown == [("a", "first"), ("b", "second"), ("c", "third")]


def test_a_record_that_fails_as_a_whole_has_extended_lines_too(bench: Any) -> None:
    bench.settings = EXTENDED
    good = json.dumps(EVENT).encode()
    bad = b'{"event_type":7,"device_id":"device-1"}'
    bench.append(b'{"events":[%b,%b,%b]}' % (good, bad, good), count=3)

    bench.run()

    assert [line["partner_id"] for line in bench.lines()] == ["partner-7"] * 2
    assert bench.counts()["held"] == 1


def test_an_address_is_dropped_after_its_place_was_looked_up(bench: Any, tmp_path: Path) -> None:
    country = {"country": {"names": {"en": "Netherlands"}}}
    database = write_mmdb(tmp_path / "places.mmdb", {"203.0.113.0/24": country})
    places = Places.adopt(str(database), tmp_path / "places", Files())
    bench.processor._batch._places = places
    bench.settings = HourSettings(places=places.current, drop_ip=True)
    bench.send(EVENT, {**LEAST, "ip": "$remote"})

    bench.run()

    assert b"203.0.113.7" not in bench.raw()
    assert [line["country"] for line in bench.lines()] == ["Netherlands"] * 2
    assert [line["ip_address"] for line in bench.lines()] == [None, None]
    assert bench.lines()[0]["location_lat"] == 52.09


def test_latitude_and_longitude_are_dropped_and_the_place_stays(bench: Any) -> None:
    bench.settings = HourSettings(drop_location=True)
    bench.send({**EVENT, "city": "Utrecht"})

    bench.run()

    (line,) = bench.lines()
    assert (line["location_lat"], line["location_lng"]) == (None, None)
    assert (line["city"], line["ip_address"]) == ("Utrecht", "203.0.113.7")
    assert len(line) == 49


def test_all_options_at_once(bench: Any) -> None:
    bench.settings = HourSettings(None, None, True, True, True)
    bench.send(EVENT)

    bench.run()

    (line,) = bench.lines()
    assert len(line) == 55
    assert line["partner_id"] == "partner-7"
    dropped = ("$schema", "ip_address", "location_lat", "location_lng")
    assert [line[name] for name in dropped] == [None] * 4


@pytest.mark.parametrize("crash", ["no crash", "before a checkpoint", "after one"])
def test_a_change_waits_for_the_next_hour_also_where_a_crash_lies_between(
    bench: Any, crash: str
) -> None:
    bench.send(EVENT)
    bench.processor.run_round()
    if crash == "after one":
        bench.processor.checkpoint()
    bench.settings = HourSettings(None, None, True, True, True)
    if crash != "no crash":
        bench.crash()
    bench.send(EVENT)
    later = bench.hour.next()
    bench.send(EVENT, stamp=later.start_micros)

    bench.run()

    lines, changed = bench.lines(), bench.lines(hour=later)
    assert [len(line) for line in lines] == [49, 49]
    assert [line["ip_address"] for line in lines] == ["203.0.113.7"] * 2
    assert [line["location_lng"] for line in lines] == [5.12] * 2
    assert [(len(line), line["ip_address"]) for line in changed] == [(55, None)]
    assert stored(bench, bench.hour) == json.loads(msgspec.json.encode(HourSettings()))


def test_a_replay_keeps_an_hours_options_when_they_were_taken_back_in_between(bench: Any) -> None:
    bench.settings = HourSettings(extended_columns=True, drop_ip=True)
    bench.send(EVENT)
    bench.processor.run_round()
    bench.settings = HourSettings()
    bench.crash()

    bench.run()

    assert [(len(line), line["ip_address"]) for line in bench.lines()] == [(55, None)]


@pytest.mark.parametrize("text", ['{"schema_number":12}', '{"schema_number":12,"places":null}'])
def test_an_hour_that_an_earlier_release_began_goes_on_as_it_was(bench: Any, text: str) -> None:
    bench.send(EVENT)
    bench.run()
    with bench.store.transaction() as connection:
        connection.execute("UPDATE project_hour SET settings = ?", (text,))
    bench.settings = HourSettings(None, None, True, True, True, "1", True, True)
    bench.crash()
    bench.send(EVENT)

    bench.run()

    first, second = bench.lines()
    own = (
        "uuid", "event_id", "event_time", "client_event_time", "client_upload_time", "data",
        "server_received_time", "server_upload_time", "processed_time",
    )  # fmt: skip
    for name in own:
        del first[name]
        del second[name]
    assert first == second


@pytest.mark.parametrize("extended", [False, True])
def test_advertising_ids_are_exported_where_the_project_keeps_them(
    bench: Any, extended: bool
) -> None:
    ids = {"idfa": "AEBE52E7", "idfv": "B7", "adid": "cdda802e", "android_id": "c9"}
    bench.settings = HourSettings(keep_advertising_ids=True, extended_columns=extended)
    later = bench.hour.next()
    bench.send({**EVENT, **ids}, LEAST, {**LEAST, "adid": ""})
    bench.tick(stamp=later.start_micros)
    bench.run()
    bench.settings = HourSettings()
    bench.send({**EVENT, **ids}, stamp=later.start_micros + 1)

    bench.run()

    shown = [(line["adid"], line["idfa"]) for line in bench.lines()]
    assert shown == [("cdda802e", "AEBE52E7"), (None, None), (None, None)]
    (wiped,) = bench.lines(hour=later)
    assert (wiped["adid"], wiped["idfa"]) == (None, None)
    # The hash is the same.
    first = bench.lines()[0]
    assert first["amplitude_attribution_ids"] == wiped["amplitude_attribution_ids"] is not None
