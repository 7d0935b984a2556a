"""The two official Node SDKs against a real collector: what they do with each of our answers.

Every test ends at the sealed or processed log. An application in a process of its own takes most
of a second on a busy machine, so all of these are slow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.clock import SteppedClock
from tailrace.collect.runtime import KEEP_ALIVE_SECONDS
from tailrace.hours import Hour
from tailrace.settings import CollectSettings
from tests.contract import carried
from tests.contract.table import Row
from tests.contract.wire import Exchange, Fault, Wire

pytestmark = pytest.mark.slow

HOUR = Hour.parse("2026-11-23T13")
TYPESCRIPT, LEGACY = "@amplitude/analytics-node", "@amplitude/node"
both = pytest.mark.parametrize("sdk", [TYPESCRIPT, LEGACY])

# The next flush is at once; the first one is when all events are there.
SOON = {TYPESCRIPT: {"flushIntervalMillis": 20}, LEGACY: {}}
# The growing waits between retries, and the half minute of those that are too fast.
WAITS = dict.fromkeys((1000, 2000, 3000, 30_000), 20)
WAITS |= dict.fromkeys((100, 200, 400, 800, 1600, 3200), 10)
# None of those above, for the time without an answer is not made shorter.
PATIENCE = {"requestTimeoutMillis": 1500}


def tracked(numbers: Any, user: str = "shopper-17", **fields: Any) -> list[tuple[Any, ...]]:
    """Make steps; the legacy SDK makes no insert_id, so the application does."""
    properties = fields.pop("properties", {})
    return [
        (
            "track",
            n,
            fields.get("event_type", "Page Viewed"),
            {"n": n, **properties},
            {"user_id": user, "insert_id": f"i-{n}", **fields},
        )
        for n in numbers
    ]


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return sorted(line["event_properties"]["n"] for line in lines)


def insert_ids(exchanges: list[Exchange]) -> Counter[str]:
    return Counter(event["insert_id"] for one in exchanges for event in one.events)


STORY: list[tuple[Any, ...]] = [
    *tracked(range(250)),
    ("track", 250, "Song Played", {"n": 250, "title": "Zürich 🚲\n"}, {"device_id": "phone-1"}),
    (
        "identify",
        251,
        [["set", "plan", "gold"], ["add", "visits", 1], ["unset", "old"]],
        {"user_id": "shopper-17", "device_id": "phone-1"},
    ),
    ("group", 252, "company", "Acme", {"user_id": "shopper-17"}),
    ("groupIdentify", 253, "company", "Acme", [["set", "size", 5]], {"user_id": "shopper-17"}),
    ("revenue", 254, "shoe-42", 10.5, 2, {"user_id": "shopper-17"}),
]


@both
@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_an_hour_holds_all_that_an_application_sent_once(
    install: Any,
    connect: Any,
    start_application: Any,
    tabulate: Callable[[Row], None],
    sdk: str,
    path: str,
) -> None:
    installation = install(SteppedClock(HOUR.start_micros, 1_000_000))
    wire: Wire = connect(installation, path)

    told = start_application(sdk).run(wire.url, installation.api_key, STORY)

    assert told.codes == dict.fromkeys(range(255), 200)
    assert set(wire.statuses) == {200}
    sent = [event for one in wire.exchanges for event in one.events]
    hour = installation.end_hour(HOUR)
    tabulate(
        Row(
            sdk,
            f"http, {path}",
            sent=len(STORY),
            acknowledged=wire.acknowledged,
            exported=len(hour.lines),
            identifies=hour.record["identifies"],
        )
    )
    assert hour.record["duplicates"] == 0
    assert numbers(hour.lines) == [*range(251), 254]
    given = {e["event_properties"]["n"]: e for e in sent if "n" in e.get("event_properties", {})}
    for line in hour.lines:
        event = given[line["event_properties"]["n"]]
        assert line["event_type"] == event["event_type"]
        assert line["user_id"] == event.get("user_id")
        assert line["$insert_id"] == event.get("insert_id")
        assert line["library"] == event["library"]
        assert line["event_properties"].items() >= event["event_properties"].items()
        assert line["data"]["path"] == path
    assert len({line["uuid"] for line in hour.lines}) == len(hour.lines)


WHO = {"user_id": carried.USER, "device_id": carried.PHONE_ID}
ON_TABLET = {"user_id": carried.USER, "device_id": carried.TABLET_ID}
PERSON: list[tuple[Any, ...]] = [
    (
        "track",
        carried.VISITED,
        "Visited",
        {"n": carried.VISITED},
        {"device_id": carried.PHONE_ID, **carried.PHONE},
    ),
    ("track", carried.SIGNED_IN, "Signed In", {"n": carried.SIGNED_IN}, WHO | carried.PHONE),
    ("identify", carried.IDENTIFIED, carried.OPERATIONS, WHO),
    ("group", carried.JOINED, *carried.GROUP, WHO),
    ("groupIdentify", carried.GROUP_GREW, *carried.GROUP, carried.GROUP_OPERATIONS, WHO),
    ("track", carried.VIEWED, "Viewed", {"n": carried.VIEWED}, ON_TABLET | carried.TABLET),
    (
        "revenue",
        carried.BOUGHT,
        carried.PRODUCT,
        carried.PRICE,
        carried.QUANTITY,
        ON_TABLET,
    ),
    ("track", carried.LEFT, "Left", {"n": carried.LEFT}, ON_TABLET),
]


@both
@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_lines_carry_the_person_with_nothing_but_the_server_url_changed(
    install: Any, connect: Any, start_application: Any, tmp_path: Path, sdk: str, path: str
) -> None:
    installation = install(places=carried.places(tmp_path))
    wire: Wire = connect(installation, path)

    told = start_application(sdk).run(wire.url, installation.api_key, PERSON)

    assert told.codes == dict.fromkeys(range(len(PERSON)), 200)
    with installation.processed() as processed:
        lines = processed.lines()
    carried.check_person(lines, "amplitude-node-ts" if sdk == TYPESCRIPT else "amplitude-node")


@both
def test_a_text_that_was_cut_in_the_middle_of_an_emoji_is_exported(
    install: Any, connect: Any, start_application: Any, sdk: str
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    steps = tracked([0], properties={"cut": "shoe \ud83d", "whole": "\ud83d\udeb2"})

    told = start_application(sdk).run(wire.url, installation.api_key, [*steps, *tracked([1])])

    assert told.codes == {0: 200, 1: 200}
    with installation.processed() as processed:
        properties = [line["event_properties"] for line in processed.lines()]
    assert {"n": 0, "cut": "shoe \ufffd", "whole": "\U0001f6b2"} in properties


def test_one_connection_to_the_collector_carries_many_requests(
    install: Any, start_application: Any
) -> None:
    installation = install()
    host, port = installation.address

    told = start_application(TYPESCRIPT).run(
        f"http://{host}:{port}/2/httpapi",
        installation.api_key,
        tracked(range(100)),
        options={"flushQueueSize": 5},
    )

    assert told.codes == dict.fromkeys(range(100), 200)
    # The client closes first: this SDK gives up what meets a closed one. Node 18 keeps none.
    assert all(0 < millis < KEEP_ALIVE_SECONDS * 1000 for millis in told.kept)
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(100))
        assert processed.counts()["accepted"] == 100


def test_the_typescript_sdk_sends_an_insert_id_with_each_event_and_the_legacy_sdk_none(
    install: Any, connect: Any, start_application: Any
) -> None:
    installation = install()
    step = ("track", 0, "Page Viewed", {"n": 0}, {"user_id": "shopper-17"})
    for sdk in (TYPESCRIPT, LEGACY):
        wire = connect(installation)
        start_application(sdk).run(wire.url, installation.api_key, [step])

    with installation.processed() as processed:
        ids = {line["library"].partition("/")[0]: line["$insert_id"] for line in processed.lines()}
    assert ids["amplitude-node"] is None
    assert len(ids["amplitude-node-ts"]) == 36


@both
def test_a_503_is_sent_again_until_the_collector_takes_it(
    install: Any, connect: Any, start_application: Any, sdk: str
) -> None:
    installation = install()
    installation.refuse_all()
    wire: Wire = connect(installation)
    wire.after_next_answers(None, installation.take_again)

    told = start_application(sdk).run(
        wire.url,
        installation.api_key,
        tracked(range(20)),
        options=SOON[sdk],
        waits=WAITS,
        flush=False,
    )

    assert wire.statuses == [503, 503, 200]
    assert wire.exchanges[0].answer["code"] == 503
    if sdk == TYPESCRIPT:
        assert told.codes == dict.fromkeys(range(20), 200)
    else:
        assert told.retried == [503, 200]
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(20))
        assert processed.counts()["accepted"] == 20


@both
def test_batches_over_the_limit_are_split_until_they_pass(
    install: Any, connect: Any, start_application: Any, sdk: str
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    large = {f"text-{n}": "x" * 1000 for n in range(20)}

    start_application(sdk).run(
        wire.url,
        installation.api_key,
        tracked(range(60), properties=large),
        options=SOON[sdk],
        waits=WAITS,
        flush=False,
    )

    assert wire.statuses[0] == 413
    assert set(wire.statuses) == {413, 200}
    assert wire.acknowledged == 60
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(60))


@both
def test_the_named_events_are_dropped_and_the_rest_is_stored_once(
    install: Any, connect: Any, start_application: Any, sdk: str
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    bad = [
        *tracked([1], "abc"),
        *tracked([4], "undefined"),
        *tracked([5], device_id="anonymous"),
        *tracked([8], time=-5),
        *tracked([9], session_id=1.5),
    ]
    steps = sorted([*bad, *tracked([0, 2, 3, 6, 7])], key=lambda step: step[1])

    told = start_application(sdk).run(
        wire.url, installation.api_key, steps, options=SOON[sdk], waits=WAITS, flush=False
    )

    if sdk == TYPESCRIPT:
        assert told.codes == {n: 400 if n in {1, 4, 5, 8, 9} else 200 for n in range(10)}
    assert (wire.statuses[0], set(wire.statuses[1:])) == (400, {200})
    with installation.processed() as processed:
        assert numbers(processed.lines()) == [0, 2, 3, 6, 7]
        assert processed.counts()["accepted"] == 5


@both
def test_with_a_wrong_key_the_sdk_gives_the_events_up_and_nothing_is_stored(
    install: Any, connect: Any, start_application: Any, sdk: str
) -> None:
    installation = install()
    wire: Wire = connect(installation)

    told = start_application(sdk).run(
        wire.url, "0" * 32, tracked(range(10)), options=SOON[sdk], waits=WAITS, flush=False
    )

    assert {one.answer["error"] for one in wire.exchanges} == {f"Invalid API key: {'0' * 32}"}
    assert told.codes == dict.fromkeys(range(10), 400)
    # The legacy SDK does not look at the text: it tries as often as after any other error.
    assert len(wire.statuses) == (1 if sdk == TYPESCRIPT else 13)
    with installation.processed() as processed:
        assert processed.counts()["accepted"] == 0


@both
def test_throttled_events_are_sent_again_and_stored_once(
    install: Any, connect: Any, start_application: Any, sdk: str
) -> None:
    clock = SteppedClock(HOUR.start_micros, 1_000_000)
    limits = CollectSettings(rate_limits=True, httpapi_events_per_second=1)
    installation = install(clock, collect=limits)
    installation.post(*({"event_type": "Before", "user_id": "busy-user"} for _ in range(30)))
    wire: Wire = connect(installation)
    wire.after_next_answers(lambda: installation.let_pass(30_000_000))

    start_application(sdk).run(
        wire.url,
        installation.api_key,
        [*tracked(range(5), "busy-user"), *tracked(range(5, 10), "calm-user")],
        options=SOON[sdk],
        waits=WAITS,
        flush=False,
    )

    assert (wire.statuses[0], set(wire.statuses[1:])) == (429, {200})
    assert wire.acknowledged == 10
    assert wire.exchanges[0].answer["throttled_users"] == {"busy-user": 2}
    assert wire.exchanges[0].answer["throttled_events"] == [0, 1, 2, 3, 4]
    with installation.processed() as processed:
        lines = [line for line in processed.lines() if line["event_type"] != "Before"]
    assert numbers(lines) == list(range(10))


@both
@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.BAD_GATEWAY])
def test_a_retry_after_a_lost_answer_is_exported_once(
    install: Any, connect: Any, start_application: Any, sdk: str, fault: Fault
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    wire.fail_next(fault)

    start_application(sdk).run(
        wire.url,
        installation.api_key,
        tracked(range(20)),
        options={**SOON[sdk], **PATIENCE},
        waits=WAITS,
        flush=False,
    )

    assert set(wire.statuses) == {200}
    sent = insert_ids(wire.exchanges)
    assert sent.keys() == {f"i-{n}" for n in range(20)}
    # Twice, or more often on a machine that is too slow for the SDK's patience.
    assert min(sent.values()) >= 2
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(20))
        assert processed.counts()["duplicates"] == sent.total() - 20


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_the_legacy_sdk_sends_again_after_a_broken_connection(
    install: Any, connect: Any, start_application: Any, fault: Fault
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    wire.fail_next(fault)

    told = start_application(LEGACY).run(
        wire.url,
        installation.api_key,
        tracked(range(20)),
        options=PATIENCE,
        waits=WAITS,
    )

    assert told.retried == [200]
    with installation.processed() as processed:
        assert numbers(processed.lines()) == list(range(20))
        assert processed.counts()["duplicates"] == (20 if fault is Fault.CUT_AFTER else 0)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_the_typescript_sdk_gives_events_up_when_the_connection_breaks(
    install: Any, connect: Any, start_application: Any, fault: Fault
) -> None:
    installation = install()
    wire: Wire = connect(installation)
    wire.fail_next(fault)

    told = start_application(TYPESCRIPT).run(
        wire.url,
        installation.api_key,
        tracked(range(20)),
        options=SOON[TYPESCRIPT],
        waits=WAITS,
        flush=False,
    )

    assert told.codes == dict.fromkeys(range(20), 0)
    stored = 20 if fault is Fault.CUT_AFTER else 0
    with installation.processed() as processed:
        assert len(processed.lines()) == stored
        assert processed.counts()["accepted"] == stored


def test_the_typescript_sdk_gives_events_up_when_nobody_listens(
    install: Any, start_application: Any
) -> None:
    installation = install()
    host, port = installation.address
    installation.stop()

    told = start_application(TYPESCRIPT).run(
        f"http://{host}:{port}/2/httpapi",
        installation.api_key,
        tracked(range(5)),
        options=SOON[TYPESCRIPT],
        waits=WAITS,
        flush=False,
    )

    assert told.codes == dict.fromkeys(range(5), 0)


def test_the_typescript_sdk_retries_nothing_in_a_flush_of_the_application(
    install: Any, connect: Any, start_application: Any
) -> None:
    installation = install()
    installation.refuse_all()
    wire: Wire = connect(installation)

    told = start_application(TYPESCRIPT).run(wire.url, installation.api_key, tracked(range(5)))

    assert (told.codes, wire.statuses) == (dict.fromkeys(range(5), 503), [503])
