"""The old JavaScript library against a real collector: sent, told of, and processed.

Slow: each test starts Node.js, and the first one gets the library from npm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tailrace.settings import CollectSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
Run = Callable[..., list[tuple[int, str]]]


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return sorted(line["event_properties"]["n"] for line in lines)


def test_what_the_library_holds_for_sent_is_exported_once(install: Any, run_library: Run) -> None:
    installation = install()

    assert run_library(installation, events=40) == [(200, "success")] * 42

    with installation.processed() as processed:
        lines = processed.lines()
        counts = processed.counts()
    assert (counts["accepted"], counts["identifies"], counts["duplicates"]) == (42, 2, 0)
    assert numbers(lines) == list(range(40))
    for line in lines:
        assert line["event_type"] == "Viewed – é"
        assert line["event_properties"]["odd"] == ["+&=% ", None]
        assert line["user_id"] == "shopper-1"
        assert line["library"] == "amplitude-js/8.21.10"
        assert line["ip_address"] == "127.0.0.1"
        assert line["data"]["path"] == "/"
        assert line["$insert_id"]
        assert line["client_upload_time"]


def test_a_batch_that_is_too_large_is_halved_until_it_fits(install: Any, run_library: Run) -> None:
    installation = install(collect=CollectSettings(httpapi_bytes_max=5000))

    told = run_library(installation, events=14)

    assert set(told) == {(413, "Request Entity Too Large"), (200, "success")}
    assert told.count((200, "success")) == 16
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(14))
        assert processed.counts()["accepted"] == 16


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
