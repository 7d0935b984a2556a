"""What came as a form is processed like any other upload: identity, duplicates, clocks."""

from __future__ import annotations

import json
from typing import Any

from tailrace.collect.identify import accept_group_identify, accept_identify
from tailrace.collect.legacy import accept_legacy
from tailrace.collect.limits import Limits
from tailrace.collect.rules import Accepted

KEY = "k"


def append(bench: Any, path: str, accepted: Accepted) -> None:
    sent = accepted.client_upload_time
    sent_micros = None if sent is None else int(float(sent) * 1000)
    bench.append(accepted.body, count=accepted.events, endpoint=path, sent=sent_micros)


def identify(bench: Any, **keys: Any) -> None:
    fields = {"identification": json.dumps(keys).encode()}
    append(bench, "/identify", accept_identify(KEY, fields, Limits()))


def legacy(bench: Any, upload_millis: int, *events: dict[str, Any]) -> None:
    fields = {"e": json.dumps(events).encode(), "upload_time": b"%d" % upload_millis}
    append(bench, "/", accept_legacy(KEY, fields, Limits()))


def test_an_identify_gives_a_device_its_user(bench: Any) -> None:
    bench.send({"event_type": "view", "device_id": "phone-1"})
    identify(bench, device_id="phone-1", user_id="shopper-1")
    bench.send({"event_type": "view", "device_id": "phone-1"})
    # Without the identify this would be another person.
    bench.send({"event_type": "view", "device_id": "desk-1", "user_id": "shopper-1"})
    bench.run()

    lines = bench.lines()
    assert [line["event_type"] for line in lines] == ["view"] * 3
    assert len({line["amplitude_id"] for line in lines}) == 1
    assert [line["user_id"] for line in lines] == [None, None, "shopper-1"]
    assert bench.counts()["identifies"] == 1


def test_an_identify_of_a_known_user_merges_the_device(bench: Any) -> None:
    bench.send({"event_type": "view", "device_id": "desk-1", "user_id": "shopper-1"})
    bench.send({"event_type": "view", "device_id": "phone-1"})
    identify(bench, device_id="phone-1", user_id="shopper-1")
    bench.run()

    known, anonymous = [line["amplitude_id"] for line in bench.lines()]
    assert bench.rows("SELECT amplitude_id, merged_amplitude_id FROM merge") == [(anonymous, known)]


def test_a_group_identify_is_counted_and_is_no_line(bench: Any) -> None:
    group = {"group_type": "org", "group_value": "acme", "group_properties": {"seats": 3}}
    fields = {"identification": json.dumps([group, group]).encode()}
    append(bench, "/groupidentify", accept_group_identify(KEY, fields, Limits()))
    bench.run()

    assert bench.lines() == []
    assert (bench.counts()["accepted"], bench.counts()["identifies"]) == (2, 2)


def test_the_old_library_is_deduplicated_and_its_clock_corrected(bench: Any) -> None:
    now = bench.stamp // 1000
    event = {
        "event_type": "view",
        "device_id": "phone-1",
        "timestamp": now - 600_000,
        "uuid": "u-1",
        "library": {"name": "amplitude-js", "version": "8.21.10"},
    }
    # Its clock is ten minutes behind.
    legacy(bench, now - 600_000, event)
    legacy(bench, now - 600_000, event, {**event, "uuid": "u-2"})
    bench.run()

    first, second = bench.lines()
    assert (first["$insert_id"], second["$insert_id"]) == ("u-1", "u-2")
    assert first["library"] == "amplitude-js/8.21.10"
    assert first["data"]["path"] == "/"
    assert first["ip_address"] == "203.0.113.7"
    assert first["client_event_time"] != first["event_time"]
    assert first["event_time"][:16] == first["server_upload_time"][:16]
    assert bench.counts()["duplicates"] == 1
