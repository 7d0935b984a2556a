"""The old JavaScript library against a real collector: sent, told of, and processed.

Slow: each test starts Node.js, and the first one gets the library from npm.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.settings import CollectSettings
from tests.contract import carried

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
Run = Callable[..., list[tuple[int, str]]]


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return sorted(line["event_properties"]["n"] for line in lines)


def test_what_the_library_holds_for_sent_is_exported_once(
    install: Any, run_library: Run, tmp_path: Path
) -> None:
    installation = install(places=carried.places(tmp_path))

    assert run_library(installation, events=40) == [(200, "success")] * 43

    with installation.processed() as processed:
        lines = processed.lines()
        counts = processed.counts()
    assert (counts["accepted"], counts["identifies"], counts["duplicates"]) == (45, 3, 0)
    assert numbers(lines) == list(range(42))
    assert len({line["amplitude_id"] for line in lines}) == 1
    for line in lines:
        assert line["user_id"] == "shopper-1"
        assert line["library"] == "amplitude-js/8.21.10"
        assert line["platform"] == "Web"
        assert line["ip_address"] == "127.0.0.1"
        carried.check_place(line, carried.PLACE)
        assert line["data"]["path"] == "/"
        assert line["$insert_id"]
        assert line["client_upload_time"]
        # What was told of her before her revenue is in that line, and in the next one.
        knows = line["event_properties"]["n"] >= 40
        properties = {"plan": "pro", "visits": 2, "org": "acme"}
        assert line["user_properties"] == (properties if knows else {})
        assert line["groups"] == ({"org": ["acme"]} if knows else {})
        assert line["group_properties"] == ({"org": {"acme": {"seats": 3}}} if knows else {})
    by_number = {line["event_properties"]["n"]: line for line in lines}
    for number in range(40):
        assert by_number[number]["event_type"] == "Viewed – é"
        assert by_number[number]["event_properties"]["odd"] == ["+&=% ", None]
    assert [by_number[n]["paying"] for n in (39, 40, 41)] == [None, True, True]
    sold = by_number[40]["event_properties"]
    assert (sold["$productId"], sold["$price"], sold["$quantity"]) == ("shoe-42", 10.5, 2)


def test_a_batch_that_is_too_large_is_halved_until_it_fits(install: Any, run_library: Run) -> None:
    installation = install(collect=CollectSettings(httpapi_bytes_max=5000))

    told = run_library(installation, events=14)

    assert set(told) == {(413, "Request Entity Too Large"), (200, "success")}
    assert told.count((200, "success")) == 17
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(16))
        assert processed.counts()["accepted"] == 19


def test_an_unknown_key_is_told_in_the_known_word(install: Any, run_library: Run) -> None:
    told = run_library(install(), events=3, api_key="0" * 32)
    assert told
    assert set(told) == {(400, "invalid_api_key")}


def test_what_the_library_lets_through_is_taken(install: Any, run_library: Run) -> None:
    installation = install()

    assert run_library(installation, events=2, how="careless") == [(200, "success")] * 2

    with installation.processed() as processed:
        revenue, first, second = processed.lines()
    for line in (revenue, first, second):
        assert line["user_id"] is None
        assert line["ip_address"] is None
    assert revenue["event_properties"] == {
        "$revenue": 14.985,
        "$price": 9.99,
        "$quantity": 1.5,
        "$productId": "7",
    }
    assert first["client_event_time"] == "2026-01-02 13:59:40.000000"
    assert numbers([first, second]) == [1, 2]
