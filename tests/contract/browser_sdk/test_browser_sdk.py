"""The official Browser SDK in Chromium against a real collector of another origin.

Each visit starts a page, and the first one Chromium, so all of these are slow.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tailrace.clock import SteppedClock
from tailrace.hours import Hour
from tailrace.settings import CollectSettings
from tests.contract import carried
from tests.contract.table import Row
from tests.contract.wire import Exchange, Fault, Wire

# A page that hung says nothing of the collector, unless the next one hangs as well.
pytestmark = [pytest.mark.slow, pytest.mark.flaky(reruns=1, only_rerun="BrowserHung")]

HOUR = Hour.parse("2026-11-23T13")
# Model, type and family of the machine under Chromium, by its user agent.
MACHINE = ("Mac", "Mac", "Mac OS X") if sys.platform == "darwin" else ("Linux",) * 3
SDK = "@amplitude/analytics-browser"
TURN_SECONDS = 0.05
TURNS_MAX = 600

# A flush as soon as all events are there, and short waits between retries.
SOON = {"flushIntervalMillis": 20}
WAITS = dict.fromkeys((1000, 2000, 3000, 30_000), 20)
LATE = {"flushIntervalMillis": 3_600_000}

STORY: list[tuple[Any, ...]] = [
    *(("track", n, "Page Scrolled", {"n": n, "text": "Zürich 🚲\n"}) for n in range(30)),
    ("identify", 30, [*carried.OPERATIONS, ["unset", "old"]]),
    ("group", 31, *carried.GROUP),
    ("groupIdentify", 32, *carried.GROUP, carried.GROUP_OPERATIONS),
    ("revenue", 33, carried.PRODUCT, carried.PRICE, carried.QUANTITY, {"n": 33}),
]


def insert_ids(exchanges: list[Exchange]) -> Counter[str]:
    return Counter(event["insert_id"] for one in exchanges for event in one.events)


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    properties = [line["event_properties"] for line in lines]
    return sorted(one["n"] for one in properties if "n" in one)


def own_properties(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the SDK's own identify tells of where the visit came from.

    It is sent first, but requests of a page that is left come in any order.
    """
    told = (one["user_properties"] for one in events if one["event_type"] == "$identify")
    operations = next(one for one in told if "initial_utm_source" in one.get("$setOnce", {}))
    own: dict[str, Any] = {**operations["$setOnce"], **operations["$set"]}
    assert (own["utm_source"], own["initial_utm_source"]) == ("letter", "letter")
    return own


def wait_for(wire: Wire, events: int) -> None:
    """Wait until so many events came by: nobody tells a page that is gone."""
    for _ in range(TURNS_MAX):
        if sum(len(one.events) for one in wire.exchanges) >= events:
            return
        time.sleep(TURN_SECONDS)
    pytest.fail(f"{events} events did not come: {wire.statuses}")


@pytest.mark.parametrize(
    ("transport", "path", "end", "options"),
    [
        ("fetch", "/2/httpapi", "flush", {}),
        ("fetch", "/batch", "flush", {}),
        ("fetch, gzip", "/2/httpapi", "flush", {"enableRequestBodyCompression": True}),
        ("xhr", "/2/httpapi", "flush", {"transport": "xhr"}),
        ("beacon, page left", "/2/httpapi", "leave", LATE),
        ("beacon, page closed", "/2/httpapi", "close", LATE),
    ],
)
def test_an_hour_holds_all_that_a_page_sent_once(
    install: Any,
    connect: Any,
    browser: Any,
    tabulate: Callable[[Row], None],
    tmp_path: Path,
    transport: str,
    path: str,
    end: str,
    options: Mapping[str, Any],
) -> None:
    clock = SteppedClock(HOUR.start_micros, 1_000_000)
    installation = install(clock, places=carried.places(tmp_path))
    wire: Wire = connect(installation, path)

    beacon, zipped = transport.startswith("beacon"), transport.endswith("gzip")
    visit = browser.visit(wire.url, installation.api_key, STORY, end=end, options=options)
    wait_for(wire, len(visit.sent))

    if end == "flush":
        assert visit.codes == {str(n): 200 for n in range(34)}
    assert visit.errors == []
    assert len(wire.preflights) == (0 if beacon else 1)
    for one in wire.exchanges:
        kind = "text/plain;charset=UTF-8" if beacon else "application/json"
        assert (one.status, one.headers["content-type"]) == (200, kind)
        assert one.headers.get("content-encoding") == ("gzip" if zipped else None)
        assert one.answer_headers["access-control-allow-origin"] == "*"
    assert insert_ids(wire.exchanges) == {insert_id: 1 for insert_id, _ in visit.sent}
    hour = installation.end_hour(HOUR)
    tabulate(
        Row(
            SDK,
            f"{transport}, {path}",
            sent=len(visit.sent),
            acknowledged=wire.acknowledged,
            exported=len(hour.lines),
            identifies=hour.record["identifies"],
        )
    )
    assert hour.record["duplicates"] == 0
    assert {line["$insert_id"] for line in hour.lines} == visit.exported
    assert numbers(hour.lines) == [*range(30), 33]
    given = {event["insert_id"]: event for one in wire.exchanges for event in one.events}
    by_itself = own_properties(given.values())
    for line in hour.lines:
        event = given[line["$insert_id"]]
        assert line["event_type"] == event["event_type"]
        assert (line["user_id"], line["device_id"]) == ("shopper-17", event["device_id"])
        assert (line["session_id"], line["event_id"]) == (event["session_id"], event["event_id"])
        assert line["platform"] == "Web"
        assert line["library"] == event["library"]
        assert line["event_properties"].items() >= event["event_properties"].items()
        carried.check_place(line, carried.PLACE)
        assert (line["ip_address"], line["language"]) == ("127.0.0.1", "English")
        # The SDK tells of its browser by the user agent alone.
        assert line["os_name"] == "HeadlessChrome"
        assert line["os_version"] == browser.version.partition(".")[0]
        names = ("device_model", "device_type", "device_family")
        assert tuple(line[name] for name in names) == MACHINE
        bought = line["event_properties"].get("n") == 33
        if transport.startswith("beacon"):
            # Beacons of a page that is left come in any order, and so does what is known.
            carried.check_nothing_else_known(line, also=by_itself)
            assert line["paying"] in ((True,) if bought else (True, None))
        else:
            carried.check_knowledge(line, known=bought, also=by_itself)
            assert line["paying"] is (True if bought else None)
        if bought:
            carried.check_revenue(line)
    assert sum(line["data"].get("first_event", False) for line in hour.lines) == 1
    assert len({line["amplitude_id"] for line in hour.lines}) == 1
    types = Counter(line["event_type"] for line in hour.lines)
    # Sent by the SDK itself, as it is set up by default.
    assert types["[Amplitude] Page Viewed"] == types["session_start"] == 1


def test_a_user_of_two_browsers_is_one_person_and_others_are_not(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    identified = ("identify", 0, carried.OPERATIONS)

    for number, user in enumerate(("shopper-17", "shopper-17", None), 1):
        steps = [*tracked([number]), *([identified] if number == 1 else [])]
        browser.visit(wire.url, installation.api_key, steps, end="flush", user=user)

    with installation.processed() as processed:
        lines = processed.lines()
    tracked_lines = [line for line in lines if "n" in line["event_properties"]]
    first, second, stranger = sorted(tracked_lines, key=lambda line: line["event_properties"]["n"])
    assert first["amplitude_id"] == second["amplitude_id"] != stranger["amplitude_id"]
    assert len({line["device_id"] for line in (first, second, stranger)}) == 3
    assert first["user_creation_time"] == second["user_creation_time"]
    assert second["user_properties"].items() >= carried.PROPERTIES.items()
    assert stranger["user_properties"].keys().isdisjoint(carried.PROPERTIES)


def test_a_preflight_allows_what_the_sdk_asks_for_on_each_path(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    options = {"enableRequestBodyCompression": True}
    browser.visit(wire.url, installation.api_key, tracked(range(30)), end="flush", options=options)

    (preflight,) = wire.preflights
    asked = preflight.headers["access-control-request-headers"].split(",")
    assert set(asked) == {"content-encoding", "content-type"}
    allowed = preflight.answer_headers["access-control-allow-headers"]
    assert {name.strip().lower() for name in allowed.split(",")} >= set(asked)
    assert "POST" in preflight.answer_headers["access-control-allow-methods"]
    assert preflight.status == 200


def test_a_page_that_sends_often_asks_once_whether_it_may(
    install: Any, browser: Any, connect: Any, tracked: Any
) -> None:
    installation = install()
    wire: Wire = connect(installation)

    visit = browser.visit(
        wire.url,
        installation.api_key,
        tracked(range(60)),
        end="flush",
        options={"flushQueueSize": 5},
    )

    assert visit.codes == {str(n): 200 for n in range(60)}
    assert len(wire.exchanges) >= 12
    assert len(wire.preflights) == 1
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(60))


def test_the_page_can_read_a_400_and_drops_the_named_events_only(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    bad = [*tracked([1], user_id="abc"), *tracked([2], device_id="anonymous")]
    bad += tracked([5], time=-5)

    visit = browser.visit(
        wire.url, installation.api_key, [*bad, *tracked([0, 3, 4])], options=SOON, waits=WAITS
    )

    assert visit.codes == {str(n): 400 if n in {1, 2, 5} else 200 for n in range(6)}
    assert not any("CORS" in error for error in visit.errors)
    assert 400 in wire.statuses
    assert set(wire.statuses) == {400, 200}
    with installation.processed() as processed:
        assert numbers(processed.lines()) == [0, 3, 4]
        assert processed.counts()["accepted"] == len(visit.sent) - 3


def test_with_a_wrong_key_the_page_gives_its_events_up(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    installation = install()
    wire: Wire = connect(installation)

    visit = browser.visit(wire.url, "0" * 32, tracked(range(5)), options=SOON, waits=WAITS)

    assert visit.codes == {str(n): 400 for n in range(5)}
    assert set(insert_ids(wire.exchanges).values()) == {1}
    with installation.processed() as processed:
        assert processed.counts()["accepted"] == 0


def test_batches_over_the_limit_are_split_until_they_pass(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    large = {f"text-{n}": "x" * 1000 for n in range(25)}

    visit = browser.visit(
        wire.url,
        installation.api_key,
        tracked(range(60), large),
        options={"flushIntervalMillis": 20, "flushQueueSize": 100},
        waits=WAITS,
    )

    assert visit.codes == {str(n): 200 for n in range(60)}
    assert set(wire.statuses) == {413, 200}
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(60))
        assert processed.counts()["accepted"] == len(visit.sent)


def test_a_503_is_sent_again_until_the_collector_takes_it(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    installation = install()
    installation.refuse_all()
    wire: Wire = connect(installation)
    wire.after_next_answers(None, installation.take_again)

    visit = browser.visit(
        wire.url, installation.api_key, tracked(range(10)), options=SOON, waits=WAITS
    )

    assert visit.codes == {str(n): 200 for n in range(10)}
    assert wire.statuses[:2] == [503, 503]
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(10))
        assert processed.counts()["accepted"] == len(visit.sent)


def test_throttled_events_are_sent_again_and_stored_once(
    install: Any, connect: Any, browser: Any, tracked: Any
) -> None:
    clock = SteppedClock(HOUR.start_micros, 1_000_000)
    limits = CollectSettings(rate_limits=True, httpapi_events_per_second=1)
    installation = install(clock, collect=limits)
    installation.post(*({"event_type": "Before", "user_id": "shopper-17"} for _ in range(30)))
    wire: Wire = connect(installation)
    wire.after_next_answers(lambda: installation.let_pass(30_000_000))

    visit = browser.visit(
        wire.url, installation.api_key, tracked(range(10)), options=SOON, waits=WAITS
    )

    assert visit.codes == {str(n): 200 for n in range(10)}
    assert (wire.statuses[0], set(wire.statuses[1:])) == (429, {200})
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(10))


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.BAD_GATEWAY])
def test_a_retry_after_a_failed_network_is_exported_once(
    install: Any, connect: Any, browser: Any, tracked: Any, fault: Fault
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    wire.fail_next(fault)

    visit = browser.visit(
        wire.url, installation.api_key, tracked(range(10)), options=SOON, waits=WAITS
    )

    assert visit.codes == {str(n): 200 for n in range(10)}
    assert set(wire.statuses) == {200}
    with installation.processed() as processed:
        lines, counts = processed.lines(), processed.counts()
    assert numbers(lines) == list(range(10))
    assert {line["$insert_id"] for line in lines} == visit.exported
    assert len(lines) == len(visit.exported)
    assert (counts["duplicates"] > 0) == (fault is not Fault.CUT_BEFORE)
