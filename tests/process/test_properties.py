from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest

from tailrace.log.record import Entry
from tailrace.process.person import PROPERTIES_BYTES_MAX
from tailrace.process.properties import identified, is_empty, laid_over, without_operations
from tailrace.upload import EMPTY_OBJECT


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def test_operation_keys_of_an_ordinary_event_are_dropped() -> None:
    sent = msgspec.Raw(b'{"\\u0024set":{"a":1},"$setOnce":{"b":2},"$price":3,"plain":4}')

    assert json.loads(bytes(without_operations(sent))) == {"$price": 3, "plain": 4}


def test_plain_properties_pass_byte_for_byte() -> None:
    sent = msgspec.Raw(b'{"a": 1.50, "b":"\\u00e9"}')

    assert without_operations(sent) is sent


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        (b"{}", True),
        (b"{ }", True),
        (b"{ \t          }", True),
        (b'{"":0}', False),
        (b'{           "a":{}}', False),
    ],
)
def test_an_object_without_keys_is_empty(text: bytes, empty: bool) -> None:
    assert is_empty(msgspec.Raw(text)) is empty
    assert is_empty(EMPTY_OBJECT)


def test_properties_that_change_nothing_leave_the_stored_ones_as_they_are() -> None:
    stored = msgspec.Raw(b'{"a": 1.50,"b":[1, 2]}')

    for given in (b"{}", b'{"a": 1.50,"b":[1, 2]}', b'{"b":[1, 2]}', b"{ }"):
        assert laid_over(stored, msgspec.Raw(given)) is stored
        assert identified(stored, msgspec.Raw(given)) is stored
    for given in (b'{"$unset":{"c":"-"}}', b'{"$add":{"b":1}}', b'{"$setOnce":{"a":2}}'):
        assert identified(stored, msgspec.Raw(given)) is stored


def test_values_stay_as_the_client_wrote_them() -> None:
    stored = msgspec.Raw(b'{"a":1.50,"big":123456789012345678901234567890}')
    given = msgspec.Raw(b'{"b":[1.0, {"\\u00e9": 1e2}]}')

    both = laid_over(stored, given)

    assert bytes(both) == (
        b'{"a":1.50,"big":123456789012345678901234567890,"b":[1.0, {"\\u00e9": 1e2}]}'
    )
    assert bytes(identified(both, msgspec.Raw(b'{"$append":{"b":2.0}}'))) == (
        b'{"a":1.50,"big":123456789012345678901234567890,"b":[1.0,{"\\u00e9": 1e2},2.0]}'
    )


def test_a_person_without_properties_takes_those_of_an_event_byte_for_byte(bench: Any) -> None:
    properties = b'{"a": 1.50,"b":"\\u00e9"}'
    body = b'{"events":[{"device_id":"device-1","event_type":"e","user_properties":%b}]}'
    bench.append(body % properties)
    bench.append(body % b"{}")

    bench.run()

    assert bench.raw().count(b'"user_properties":' + properties) == 2


def test_an_event_that_changes_nothing_writes_no_state(bench: Any) -> None:
    event = {
        "device_id": "device-1",
        "event_type": "e",
        "platform": "Web",
        "city": "Utrecht",
        "language": "Dutch",
        "app_version": "1.0",
        "user_properties": {"a": 1},
    }
    bench.send(event, {**event, "user_properties": {"b": 2}})
    bench.run()
    persons = bench.processor._state.persons
    repeats = [{**event, "user_properties": given} for given in ({"a": 1}, {"b": 2}, {}, {"a": 1})]
    bench.send(*repeats, {"device_id": "device-1", "event_type": "e"})

    bench.processor.run_round()

    assert persons._changed == {}
    assert persons.changed_bytes() == 0
    bench.run()
    assert bench.lines()[-1]["user_properties"] == {"a": 1, "b": 2}


ANN = {"device_id": "phone-1", "user_id": "ann-12345", "user_properties": {"plan": "free"}}
TABLET = {"event_type": "open", "device_id": "tablet-1", "user_properties": {"plan": "pro"}}


@pytest.mark.parametrize(
    "between",
    [
        [{"event_type": "$identify", "device_id": "phone-1", "user_properties": {"plan": "pro"}}],
        [
            {
                "event_type": "$identify",
                "device_id": "phone-1",
                "user_properties": {"$set": {"plan": "pro"}},
            }
        ],
        [TABLET, {"event_type": "$identify", "device_id": "tablet-1", "user_id": "ann-12345"}],
        [{**ANN, "event_type": "open", "user_properties": {"plan": "pro"}}],
    ],
    ids=["plain keys", "an operation", "a merge", "an event"],
)
def test_what_an_event_repeats_is_set_again_if_it_was_changed_in_between(
    bench: Any, between: list[dict[str, Any]]
) -> None:
    """What came last is compared first, to save work: it must not be taken for what is there."""
    shows = {"event_type": "open", "device_id": "phone-1", "event_properties": {"shows": True}}
    repeats = {**ANN, "event_type": "open"}
    for event in (repeats, *between, shows, repeats, shows):
        bench.send(event)

    bench.run()

    plans = [line["user_properties"]["plan"] for line in bench.lines() if line["event_properties"]]
    assert plans == ["pro", "free"]


def test_a_failed_portion_leaves_nothing_of_its_properties(bench: Any) -> None:
    event = {"device_id": "device-1", "event_type": "e"}
    identify = {"device_id": "device-1", "event_type": "$identify"}
    bench.send({**identify, "user_properties": {"a": 1}, "groups": {"team": "x"}})
    held = b'{"device_id":"device-1","event_type":"e","event_properties":{\n},'
    held += b'"user_properties":{"a":2},"platform":"Web","groups":{"team":"y"}}'
    bench.append(b'{"events":[%b]}' % held)
    bench.send(event)

    bench.run()

    (line,) = bench.lines()
    assert (line["user_properties"], line["platform"]) == ({"a": 1}, None)
    assert line["groups"] == {"team": ["x"]}
    assert bench.counts()["held"] == 1


def test_too_many_properties_are_shown_with_their_event_and_not_remembered(bench: Any) -> None:
    event = {"device_id": "device-1", "event_type": "e"}
    long = {f"p{n}": "x" * 1000 for n in range(PROPERTIES_BYTES_MAX // 1000 + 1)}
    bench.send({**event, "user_properties": {"a": 1}}, {**event, "user_properties": long})
    bench.send({**event, "event_type": "$identify", "user_properties": {"$set": long}})
    bench.send({**event, "event_type": "$identify", "user_properties": {"$set": {"b": 2}}}, event)

    bench.run()

    _, second, third = bench.lines()
    assert second["user_properties"] == {"a": 1} | long
    assert "user_properties_updated" not in second["data"]
    assert third["user_properties"] == {"a": 1, "b": 2}
    assert bench.processor.updates_dropped == 2


def test_lines_that_show_much_more_than_was_sent_make_a_checkpoint_due_within_a_round(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.process.loop.BATCH_EVENTS", 10)
    monkeypatch.setattr("tailrace.process.loop.OPEN_BYTES_MAX", 100_000)
    event = {"device_id": "device-1", "event_type": "e"}
    bench.send({**event, "user_properties": {"a": ["x" * 1000] * 20}})
    for _ in range(50):
        bench.send(event)

    assert bench.processor.run_round() < 51
    assert bench.processor.checkpoint_due()
    bench.run()
    assert len(bench.lines()) == 51


@pytest.mark.parametrize("on", [True, False])
def test_updates_beyond_the_limit_of_an_hour_are_dropped_and_counted(bench: Any, on: bool) -> None:
    bench.updates_max = 2 if on else None
    bench.crash()
    event = {"device_id": "device-1", "event_type": "e"}
    identify = {**event, "event_type": "$identify", "user_properties": {"$add": {"n": 1}}}
    for _ in range(4):
        bench.send(identify, event)
        bench.run()
        bench.crash()
    bench.send({**event, "user_properties": {"b": 1}})
    bench.send({**event, "user_properties": {"b": 2}}, event, stamp=bench.hour.end_micros)

    bench.run()

    lines = bench.lines() + bench.lines(hour=bench.hour.next())
    found = [line["user_properties"] for line in lines]
    counted = [{"n": 1}, {"n": 2}, {"n": 2}, {"n": 2}, {"n": 2}, *[{"n": 2, "b": 2}] * 2]
    free = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}, {"n": 4, "b": 1}, *[{"n": 4, "b": 2}] * 2]
    assert found == (counted if on else free)
    updated = [line["data"].get("user_properties_updated", False) for line in lines]
    assert updated == [False] * 4 + [not on, True, False]
    assert bench.processor.updates_dropped == (1 if on else 0)


def test_an_update_that_repeats_the_last_one_counts_as_well(bench: Any) -> None:
    bench.updates_max = 3
    bench.crash()
    event = {"device_id": "device-1", "event_type": "e"}
    bench.send(
        *[{**event, "user_properties": {"a": 1}}] * 3, {**event, "user_properties": {"a": 2}}
    )

    bench.run()

    assert [line["user_properties"]["a"] for line in bench.lines()] == [1, 1, 1, 1]
    assert bench.processor.updates_dropped == 1


def test_what_is_remembered_does_not_keep_the_requests_that_it_came_in(bench: Any) -> None:
    filler = b"x" * 200_000
    kinds = (b"e", b"$identify", b"$groupidentify")
    given = b'"user_properties":{"a":%d},"groups":{"team":"t%d"},"group_properties":{"b":1}'

    def send(number: int) -> None:
        events = [
            b'{"event_type":"%b","device_id":"device-%d",%b}'
            % (kind, number, given % (number, number))
            for kind in kinds
        ]
        bench.append(b'{"events":[%b],"more":"%b"}' % (b",".join(events), filler), count=3)
        bench.run()
        bench.log.entries[-1] = Entry(1, number + 1, number + 2, bench.stamp, None)

    send(0)
    tracemalloc.start()
    for number in range(1, 30):
        send(number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 10 * len(filler)
