from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tailrace.state.processing import HourSettings

GOLDEN = Path(__file__).parent.parent / "golden"

KEYS = [
    "server_received_time",
    "app",
    "device_carrier",
    "$schema",
    "city",
    "user_id",
    "uuid",
    "event_time",
    "platform",
    "os_version",
    "amplitude_id",
    "processed_time",
    "user_creation_time",
    "version_name",
    "ip_address",
    "paying",
    "dma",
    "group_properties",
    "user_properties",
    "client_upload_time",
    "$insert_id",
    "event_type",
    "library",
    "amplitude_attribution_ids",
    "device_type",
    "device_manufacturer",
    "start_version",
    "location_lng",
    "server_upload_time",
    "event_id",
    "location_lat",
    "os_name",
    "amplitude_event_type",
    "device_brand",
    "groups",
    "event_properties",
    "data",
    "device_id",
    "language",
    "device_model",
    "country",
    "region",
    "is_attribution_event",
    "adid",
    "session_id",
    "device_family",
    "sample_rate",
    "idfa",
    "client_event_time",
]

FULL = {
    "user_id": "shopper-000017",
    "device_id": "9e4c0e0e-55d7-4f30-8a0c-3a77d0c0f111",
    "event_type": "Checkout",
    "time": 1_772_731_209_900,
    "insert_id": "c1f0a6ac-0001",
    "session_id": 1_772_731_200_000,
    "event_id": 17,
    "app_version": "2.4.0",
    "platform": "Web",
    "os_name": "Chrome",
    "os_version": "121",
    "device_brand": "Acme",
    "device_manufacturer": "Acme Works",
    "device_model": "A1",
    "carrier": "Carrier",
    "country": "Netherlands",
    "region": "Utrecht",
    "city": "Utrecht",
    "dma": "None here",
    "language": "Dutch",
    "location_lat": 52.09,
    "location_lng": 5.12,
    "ip": "$remote",
    "idfa": "IDFA",
    "adid": "ADID",
    "library": "amplitude-ts/2.16.1",
    "event_properties": {"price": 9.50, "name": "Schuh ☂", "list": [1, {"a": None}]},
    "user_properties": {"tier": "gold"},
    "groups": {"team": ["a", "b"], "site": 7},
    "unknown": "ignored",
}
LEAST = {"device_id": "device-1", "event_type": "open"}


def fill(bench: Any) -> None:
    """Send lines that show every field, from both endpoints."""
    bench.clock.advance(12_345_678)
    base = bench.hour.start_micros + 10_521_000
    bench.send(FULL, stamp=base, received=base - 9_123, sent=base - 121_500)
    bench.send({**FULL, "insert_id": "c1f0a6ac-0002"}, stamp=base + 5_000, endpoint="/batch")
    bench.send(LEAST, stamp=base + 9_001, endpoint="/batch")
    bench.send({"user_id": "shopper-9", **LEAST, "device_id": ""}, stamp=base + 10_999)
    # A client's clock that is two minutes fast.
    bench.send({**FULL, "insert_id": "c1f0a6ac-0003"}, stamp=base + 20_000, sent=base + 120_020_000)
    bench.run()


def test_lines_are_the_promised_bytes(bench: Any) -> None:
    fill(bench)

    golden = GOLDEN / "events.jsonl"
    assert bench.raw() == golden.read_bytes()


def test_every_line_has_the_49_keys_in_order(bench: Any) -> None:
    fill(bench)

    assert len(KEYS) == 49
    for line in bench.lines():
        assert list(line) == KEYS


def test_absent_values_are_null_and_objects_are_empty(bench: Any) -> None:
    bench.send({**LEAST, "city": "", "user_id": ""})

    bench.run()

    (line,) = bench.lines()
    given = {name for name, value in line.items() if value is not None}
    assert given == {
        "server_received_time",
        "app",
        "$schema",
        "uuid",
        "event_time",
        "amplitude_id",
        "processed_time",
        "user_creation_time",
        "group_properties",
        "user_properties",
        "client_upload_time",
        "event_type",
        "library",
        "server_upload_time",
        "event_id",
        "groups",
        "event_properties",
        "data",
        "device_id",
        "session_id",
        "client_event_time",
    }
    for name in ("group_properties", "user_properties", "groups", "event_properties"):
        assert line[name] == {}
    assert line["session_id"] == -1
    assert line["library"] == "http/2.0"


def test_property_objects_pass_byte_for_byte(bench: Any) -> None:
    properties = b'{"n": 1.50,"u":"\\u00e9","big":123456789012345678901234567890}'
    bench.append(
        b'{"events":[{"device_id":"device-1","event_type":"e","event_properties":%b,'
        b'"user_properties":%b}]}' % (properties, properties)
    )

    bench.run()

    assert bench.raw().count(properties) == 2


def test_the_hours_settings_say_the_schema_number_even_if_changed_within_it(bench: Any) -> None:
    bench.settings = HourSettings(schema_number=None)
    bench.send(LEAST)
    bench.processor.run_round()
    bench.settings = HourSettings()
    bench.crash()
    bench.send(LEAST)
    bench.send(LEAST, stamp=bench.hour.end_micros)

    bench.run()

    assert [line["$schema"] for line in bench.lines()] == [None, None]
    assert [line["$schema"] for line in bench.lines(hour=bench.hour.next())] == [12]


def test_the_first_event_of_a_person_in_a_project_says_so(bench: Any) -> None:
    early, late = 1_772_000_000_000, 1_773_000_000_000
    bench.send({**LEAST, "event_type": "$identify"})
    bench.send({**LEAST, "time": late}, {**LEAST, "time": early})
    bench.send({**LEAST, "time": early}, project=300002)
    bench.run()
    bench.crash()
    bench.send(LEAST)

    bench.run()

    first = [line["data"].get("first_event") for line in bench.lines()]
    assert first == [True, None, None]
    assert {line["user_creation_time"] for line in bench.lines()} == {"2026-03-08 20:00:00.000000"}
    assert bench.lines(300002)[0]["data"]["first_event"] is True


def test_data_says_when_user_properties_came(bench: Any) -> None:
    some = {"user_properties": {"a": 1}}
    bench.send(
        LEAST,
        {**LEAST, **some},
        {**LEAST, **some, "$skip_user_properties_sync": True},
        {**LEAST, "user_properties": {"$set": {"a": 1}}},
        {**LEAST, "user_properties": {}},
    )

    bench.run()

    updated = [line["data"].get("user_properties_updated") for line in bench.lines()]
    assert updated == [None, True, None, None, None]
    assert bench.lines()[1]["data"] == {
        "path": "/2/httpapi",
        "group_first_event": {},
        "group_ids": {},
        "user_properties_updated": True,
    }
    assert [line["user_properties"] for line in bench.lines()] == [{}] + [{"a": 1}] * 4


def test_the_start_version_is_the_first_that_a_person_had(bench: Any) -> None:
    bench.send(LEAST, {**LEAST, "version_name": "1.0"}, {**LEAST, "app_version": "2.0"})

    bench.run()

    lines = bench.lines()
    assert [line["start_version"] for line in lines] == [None, "1.0", "1.0"]
    assert [line["version_name"] for line in lines] == [None, "1.0", "2.0"]


@pytest.mark.parametrize(
    ("time", "sent_before_hours", "text"),
    [
        (10**30, 0, "9999-12-31 23:59:59.999000"),
        (253_402_300_799_999, 2, "9999-12-31 23:59:59.999000"),
        (0, -2, "1969-12-31 22:00:00.000000"),
    ],
)
def test_times_beyond_the_calendar_are_shown_as_its_ends(
    bench: Any, hour_micros: int, time: int, sent_before_hours: int, text: str
) -> None:
    stamp = bench.hour.start_micros
    bench.send({**LEAST, "time": time}, stamp=stamp, sent=stamp - sent_before_hours * hour_micros)

    bench.run()

    (line,) = bench.lines()
    assert line["event_time"] == text
    where = "earlier" if text < "2016" else "later"
    assert bench.rows("SELECT date, events FROM event_date") == [(where, 1)]


def test_an_event_without_time_happened_when_it_was_uploaded(bench: Any) -> None:
    stamp = bench.hour.start_micros + 999
    bench.send(LEAST, stamp=stamp)
    bench.send(LEAST, stamp=stamp + 1000, sent=stamp - 7_200_000_000)

    bench.run()

    first, second = bench.lines()
    assert first["client_event_time"] == first["server_received_time"]
    assert first["server_upload_time"] == "2026-03-05 17:00:00.000000"
    assert second["client_event_time"] == "2026-03-05 15:00:00.000000"
    assert second["event_time"] == second["server_received_time"]


def test_lines_are_json_without_blanks_and_end_with_a_line_feed(bench: Any) -> None:
    bench.send(LEAST, LEAST)

    bench.run()

    raw = bench.raw()
    assert raw.endswith(b"}\n")
    for line in raw.splitlines():
        assert line == json.dumps(json.loads(line), separators=(",", ":")).encode()
