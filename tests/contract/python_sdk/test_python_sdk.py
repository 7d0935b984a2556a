"""The official Python SDK against a real collector: what it does with each of our answers.

Every test ends at the processed log: each event that the SDK holds for sent is there once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import amplitude.constants
import pytest
from amplitude import Amplitude, BaseEvent, Config, EventOptions, Identify, Revenue

from tailrace.clock import SteppedClock
from tailrace.hours import Hour
from tailrace.settings import CollectSettings
from tests.contract import carried
from tests.contract.table import Row
from tests.contract.wire import Fault

MakeEvents = Callable[..., list[Any]]


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return sorted(line["event_properties"]["n"] for line in lines)


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_sent_events_are_exported_as_they_were_tracked(
    install: Any,
    connect: Any,
    start_sdk: Any,
    make_events: MakeEvents,
    tabulate: Callable[[Row], None],
    path: str,
) -> None:
    installation = install()
    wire = connect(installation, path)
    sdk = start_sdk(wire.url, installation.api_key)
    tracked = [
        *make_events(range(400)),
        *make_events([400], user_id=None, device_id="phone-1", city="Zürich"),
    ]

    sdk.track(*tracked)
    who = EventOptions(user_id="shopper-17")
    sdk.client.identify(Identify().set("plan", "gold").add("visits", 1), who, {"n": 401})
    sdk.track(*make_events([402], groups={"company": "Acme"}))
    sdk.client.group_identify("company", "Acme", Identify().set("size", 5), who, {"n": 403})
    sdk.client.revenue(Revenue(10.5, 2, "shoe-42", properties={"n": 404}), who)
    assert sdk.wait_for_outcomes(405) == dict.fromkeys(range(405), 200)

    with installation.processed() as processed:
        lines, counts = processed.lines(), processed.counts()
    assert counts["accepted"] == 405
    tabulate(
        Row(
            "amplitude-analytics (Python)",
            f"http, {path}",
            sent=len(tracked) + 4,
            acknowledged=wire.acknowledged,
            exported=len(lines),
            identifies=counts["identifies"],
        )
    )
    assert numbers(lines) == [*range(401), 402, 404]
    by_number = {line["event_properties"]["n"]: line for line in lines}
    for event in tracked:
        line = by_number[event["event_properties"]["n"]]
        assert line["$insert_id"] == event["insert_id"]
        assert line["event_type"] == "Page Viewed"
        assert line["library"] == event["library"]
        assert line["user_id"] == event["user_id"]
    assert (by_number[400]["device_id"], by_number[400]["city"]) == ("phone-1", "Zürich")


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_lines_carry_the_person_with_nothing_but_the_server_url_changed(
    install: Any, connect: Any, tmp_path: Path, path: str
) -> None:
    installation = install(places=carried.places(tmp_path))
    wire = connect(installation, path)
    client = Amplitude(installation.api_key, Config(server_url=wire.url))
    on_phone = EventOptions(user_id=carried.USER, device_id=carried.PHONE_ID)
    on_tablet = EventOptions(user_id=carried.USER, device_id=carried.TABLET_ID)
    anonymous = {"device_id": carried.PHONE_ID, **carried.PHONE}

    client.track(BaseEvent("Visited", event_properties={"n": carried.VISITED}, **anonymous))
    signed_in = {"user_id": carried.USER, **anonymous}
    client.track(BaseEvent("Signed In", event_properties={"n": carried.SIGNED_IN}, **signed_in))
    identify = Identify()
    for operation, name, value in carried.OPERATIONS:
        {"set": identify.set, "add": identify.add, "setOnce": identify.set_once}[operation](
            name, value
        )
    client.identify(identify, on_phone)
    client.set_group(*carried.GROUP, on_phone)
    client.group_identify(*carried.GROUP, Identify().set("size", 5), on_phone)
    viewed = {"user_id": carried.USER, "device_id": carried.TABLET_ID, **carried.TABLET}
    client.track(BaseEvent("Viewed", event_properties={"n": carried.VIEWED}, **viewed))
    bought = Revenue(
        carried.PRICE, carried.QUANTITY, carried.PRODUCT, properties={"n": carried.BOUGHT}
    )
    client.revenue(bought, on_tablet)
    left = BaseEvent("Left", carried.USER, carried.TABLET_ID)
    left.event_properties = {"n": carried.LEFT}
    client.track(left)
    client.shutdown()

    assert wire.statuses == [200]
    with installation.processed() as processed:
        lines = processed.lines()
    carried.check_person(lines, "amplitude-python")


def test_an_identify_of_the_sdk_is_accepted_and_makes_no_line(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    sdk = start_sdk(connect(installation).url, installation.api_key)

    sdk.client.identify(
        Identify().set("plan", "gold"), EventOptions(user_id="shopper-17"), {"n": 0}
    )
    sdk.track(*make_events([1]))
    assert sdk.wait_for_outcomes(2) == {0: 200, 1: 200}

    with installation.processed() as processed:
        assert numbers(processed.lines()) == [1]
        assert processed.counts()["identifies"] == 1


def test_with_a_wrong_key_the_sdk_gives_the_batch_up_and_nothing_is_stored(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    wire = connect(installation)
    sdk = start_sdk(wire.url, "0123456789abcdef0123456789abcdef")

    sdk.track(*make_events(range(10)))
    sdk.wait_for_log("Invalid API Key")

    assert [exchange.answer["error"] for exchange in wire.exchanges] == [
        "Invalid API key: 0123456789abcdef0123456789abcdef"
    ]
    assert sdk.storage.total_events == 0
    with installation.processed() as processed:
        assert processed.counts()["accepted"] == 0


def test_the_sdk_drops_the_named_events_and_the_rest_is_stored_once(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    wire = connect(installation)
    sdk = start_sdk(wire.url, installation.api_key)
    bad = [
        *make_events([1], user_id="abc"),
        *make_events([4], user_id="undefined"),
        *make_events([5], device_id="anonymous"),
        *make_events([8], event_type=" "),
        *make_events([9], time=-5),
    ]
    good = make_events([0, 2, 3, 6, 7])

    sdk.track(*sorted([*bad, *good], key=lambda event: event["event_properties"]["n"]))
    outcomes = sdk.wait_for_outcomes(10)

    assert outcomes == {n: 400 if n in {1, 4, 5, 8, 9} else 200 for n in range(10)}
    assert (wire.statuses[0], set(wire.statuses[1:])) == (400, {200})
    with installation.processed() as processed:
        assert numbers(processed.lines()) == [0, 2, 3, 6, 7]
        assert processed.counts()["accepted"] == 5


def test_a_value_that_is_no_number_costs_its_own_event_only(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    # The SDK writes NaN and Infinity as they are, and that is no JSON.
    installation = install()
    wire = connect(installation)
    sdk = start_sdk(wire.url, installation.api_key)
    bad = [
        *make_events([1], event_properties={"price": float("nan")}),
        *make_events([3], event_properties={"prices": [float("-inf")]}),
        *make_events([5], revenue=float("inf")),
    ]

    sdk.track(*sorted([*bad, *make_events([0, 2, 4])], key=lambda e: e["event_properties"]["n"]))
    outcomes = sdk.wait_for_outcomes(6)

    assert outcomes == {n: 400 if n in {1, 3, 5} else 200 for n in range(6)}
    assert wire.exchanges[0].answer["detail"] == (
        "event_properties of event 1 holds NaN, which is no JSON value."
    )
    with installation.processed() as processed:
        assert numbers(processed.lines()) == [0, 2, 4]
        assert processed.counts()["accepted"] == 3


def test_batches_over_the_limit_are_split_until_they_pass(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    wire = connect(installation)
    sdk = start_sdk(wire.url, installation.api_key)
    large = {f"text-{n}": "x" * 1000 for n in range(20)}

    sdk.track(*make_events(range(200), event_properties=large))
    outcomes = sdk.wait_for_outcomes(200)

    assert outcomes == dict.fromkeys(range(200), 200)
    assert wire.exchanges[0].status == 413
    assert set(wire.statuses) == {413, 200}
    for exchange in wire.exchanges:
        assert exchange.status == 413 or len(exchange.events) < 60
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(200))
        assert processed.counts()["accepted"] == 200


def test_a_single_event_over_the_limit_is_dropped_with_a_413(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    sdk = start_sdk(connect(installation).url, installation.api_key)
    huge = {f"list-{n}": ["x" * 1000] * 100 for n in range(12)}

    sdk.track(*make_events([0], event_properties=huge), *make_events([1]))
    assert sdk.wait_for_outcomes(2) == {0: 413, 1: 200}

    with installation.processed() as processed:
        assert numbers(processed.lines()) == [1]


@pytest.mark.slow  # After 30 s have passed the collector reads its keys again before it takes more.
def test_throttled_events_wait_30_seconds_and_the_others_go_at_once(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    clock = SteppedClock(Hour.parse("2026-11-23T13").start_micros, 1_000_000)
    limits = CollectSettings(rate_limits=True, httpapi_events_per_second=1)
    installation = install(clock, collect=limits)
    wire = connect(installation)
    sdk = start_sdk(wire.url, installation.api_key)

    sdk.track(*make_events(range(30), user_id="busy-user"))
    sdk.wait_for_outcomes(30)
    busy = make_events(range(30, 35), user_id="busy-user")
    calm = make_events(range(35, 40), user_id="calm-user")
    sdk.track(*busy, *calm)

    outcomes = sdk.wait_for_outcomes(35)
    assert outcomes == dict.fromkeys([*range(30), *range(35, 40)], 200)
    assert sdk.wait_for_waiting(5) == [(n, 30_000) for n in range(30, 35)]
    assert (wire.statuses[:2], set(wire.statuses[2:])) == ([200, 429], {200})
    assert wire.exchanges[1].answer["throttled_users"] == {"busy-user": 2}
    with installation.processed() as processed:
        assert processed.counts()["accepted"] == 35

    clock.advance(30_000_000)
    sdk.storage.time_passes()
    assert sdk.wait_for_outcomes(40) == dict.fromkeys(range(40), 200)

    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(40))
        assert processed.counts()["accepted"] == 40


@pytest.mark.slow  # As above.
def test_events_over_the_daily_quota_are_dropped_by_the_sdk_and_not_stored(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    clock = SteppedClock(Hour.parse("2026-11-23T13").start_micros, 1_000_000)
    limits = CollectSettings(rate_limits=True, batch_events_per_second=1, batch_events_per_day=1)
    installation = install(clock, collect=limits)
    sdk = start_sdk(connect(installation, "/batch").url, installation.api_key)
    sdk.track(*make_events(range(30), user_id="busy-user"))
    sdk.wait_for_outcomes(30)
    sdk.track(*make_events([30], user_id="busy-user"))
    sdk.wait_for_waiting(1)
    clock.advance(30_000_000)
    sdk.storage.time_passes()
    sdk.wait_for_outcomes(31)

    sdk.track(*make_events([31], user_id="busy-user"), *make_events([32], user_id="calm-user"))
    outcomes = sdk.wait_for_outcomes(33)

    assert outcomes == {**dict.fromkeys(range(33), 200), 31: 429}
    dropped = next(outcome for outcome in sdk.outcomes if outcome.number == 31)
    assert dropped.message == "Exceeded daily quota"
    with installation.processed() as processed:
        assert numbers(processed.lines()) == [*range(31), 32]


@pytest.mark.slow  # The SDK waits a second for the answer that was lost.
@pytest.mark.parametrize("seen", [None, 502], ids=["silence", "a proxy's 502"])
def test_a_retry_after_a_lost_answer_is_exported_once(
    install: Any,
    connect: Any,
    start_sdk: Any,
    make_events: MakeEvents,
    monkeypatch: pytest.MonkeyPatch,
    seen: int | None,
) -> None:
    monkeypatch.setattr(amplitude.constants, "CONNECTION_TIMEOUT", 1.0)
    installation = install()
    wire = connect(installation)
    wire.lose_next_answer(seen)
    sdk = start_sdk(wire.url, installation.api_key)

    sdk.track(*make_events(range(50)))
    assert sdk.wait_for_outcomes(50) == dict.fromkeys(range(50), 200)

    # Stored twice and exported once; the second time perhaps in several requests.
    assert set(wire.statuses) == {200}
    assert numbers(wire.exchanges[0].events) == list(range(50))
    again = [event for exchange in wire.exchanges[1:] for event in exchange.events]
    assert set(numbers(again)) == set(range(50))
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(50))
        counts = processed.counts()
    assert counts["duplicates"] >= 50
    assert counts["accepted"] == 50 + counts["duplicates"]


def test_a_503_is_sent_again_and_stored_once(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    installation.refuse_all()
    wire = connect(installation)
    wire.after_next_answers(installation.take_again)
    sdk = start_sdk(wire.url, installation.api_key)

    sdk.track(*make_events(range(50)))
    assert sdk.wait_for_outcomes(50) == dict.fromkeys(range(50), 200)

    assert (wire.statuses[0], set(wire.statuses[1:])) == (503, {200})
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(50))
        assert processed.counts()["accepted"] == 50


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_the_sdk_gives_a_batch_up_in_silence_when_the_connection_breaks(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents, fault: Fault
) -> None:
    # Its thread for the request ends with an error; sending-events.md warns of it.
    installation = install()
    wire = connect(installation)
    wire.fail_next(fault)
    sdk = start_sdk(wire.url, installation.api_key)

    sdk.track(*make_events(range(50)))
    wire.wait_for_cut()
    sdk.track(*make_events(range(50, 60)))
    assert sdk.wait_for_outcomes(10) == dict.fromkeys(range(50, 60), 200)

    stored = range(60) if fault is Fault.CUT_AFTER else range(50, 60)
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(stored)
        assert processed.counts()["duplicates"] == 0


def test_what_the_sdk_refuses_itself_never_comes(
    install: Any, connect: Any, start_sdk: Any, make_events: MakeEvents
) -> None:
    installation = install()
    wire = connect(installation)
    sdk = start_sdk(wire.url, installation.api_key)

    sdk.track(BaseEvent("Page Viewed", event_properties={"n": 0}), *make_events([1]))
    assert sdk.wait_for_outcomes(1) == {1: 200}

    assert [len(exchange.events) for exchange in wire.exchanges] == [1]
