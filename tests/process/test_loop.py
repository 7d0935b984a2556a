from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any

import pytest

from tailrace.errors import InUse
from tailrace.process.loop import CHECKPOINT_MICROS, OPEN_BYTES_MAX, Processor
from tailrace.state.processing_rows import held

EVENT = {"device_id": "device-1", "event_type": "buy"}
# Decodes, but can't be rendered as one line.
TWO_LINES = b'{"device_id":"device-2","event_type":"buy","event_properties":{"a":\n1}}'


def body(*events: bytes) -> bytes:
    return b'{"events":[' + b",".join(events) + b"]}"


def good(n: int) -> bytes:
    return json.dumps({**EVENT, "insert_id": str(n)}).encode()


def test_a_checkpoint_is_due_thirty_seconds_after_the_first_unsaved_entry(bench: Any) -> None:
    assert not bench.processor.checkpoint_due()
    bench.send(EVENT)
    bench.processor.run_round()
    bench.clock.advance(CHECKPOINT_MICROS - 1)
    bench.send(EVENT)
    bench.processor.run_round()
    assert not bench.processor.checkpoint_due()

    bench.clock.advance(1)

    assert bench.processor.checkpoint_due()


def test_a_clock_that_is_set_back_does_not_delay_a_checkpoint(bench: Any) -> None:
    bench.send(EVENT)
    bench.processor.run_round()

    bench.clock.advance(CHECKPOINT_MICROS)
    bench.clock.step(-(10**12))

    assert bench.processor.checkpoint_due()


def test_a_checkpoint_is_due_at_the_end_of_an_hour(bench: Any) -> None:
    bench.send(EVENT)
    bench.run()
    bench.tick(stamp=bench.hour.end_micros - 1)
    bench.processor.run_round()
    assert not bench.processor.checkpoint_due()

    bench.tick(stamp=bench.hour.end_micros)
    bench.processor.run_round()

    assert bench.processor.checkpoint_due()
    bench.processor.checkpoint()
    assert not bench.processor.checkpoint_due()
    assert bench.store.left_through([1]) == bench.hour


def test_a_checkpoint_is_due_at_64_mib_of_lines(bench: Any) -> None:
    big = json.dumps({**EVENT, "event_properties": {"x": "x" * 1000}}).encode()
    record = body(*[big] * 2000)
    sent = 0
    while not bench.processor.checkpoint_due():
        bench.append(record, count=2000)
        bench.processor.run_round()
        sent += 2000

    bench.processor.checkpoint()

    raw_length, lines = bench.rows("SELECT raw_length, lines FROM chunk")[0]
    assert OPEN_BYTES_MAX <= raw_length < OPEN_BYTES_MAX + 2 * raw_length // lines * 2000
    assert lines == sent


def test_a_checkpoint_is_due_for_state_that_makes_no_lines(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.process.loop.OPEN_BYTES_MAX", 100_000)
    identify = [{"device_id": f"d-{n}", "event_type": "$identify"} for n in range(300)]
    bench.send(*identify)

    bench.processor.run_round()

    assert bench.processor.checkpoint_due()


def test_records_are_processed_in_order_of_stamp_and_partition(bench: Any) -> None:
    start = bench.hour.start_micros
    for partition, stamp in [(2, 30), (2, 40), (1, 10), (1, 30), (1, 50)]:
        bench.send(
            {**EVENT, "event_id": stamp * 10 + partition}, partition=partition, stamp=start + stamp
        )

    bench.run()

    assert [line["event_id"] for line in bench.lines()] == [101, 301, 302, 402, 501]


def test_an_event_that_raises_is_held_and_its_record_goes_on(bench: Any) -> None:
    entry = bench.append(body(good(1), TWO_LINES, good(2)), count=3)

    bench.run()

    assert [line["$insert_id"] for line in bench.lines()] == ["1", "2"]
    assert bench.counts() | {"accepted": 3, "exported": 2, "held": 1} == bench.counts()
    (row,) = held(bench.store.connection, 10)
    assert (row.partition, row.position, row.index) == (entry.partition, entry.position, 1)
    assert (row.event, row.events) == (TWO_LINES, 1)
    assert "not on one line" in row.error
    assert (row.organization, row.project, row.endpoint) == (
        bench.organization,
        bench.project,
        "/2/httpapi",
    )


def test_a_held_event_leaves_no_state_behind(bench: Any) -> None:
    two_lines = TWO_LINES[:-1] + b',"user_id":"shopper-1","insert_id":"held"}'
    bench.append(body(two_lines))
    bench.send({"device_id": "device-9", "event_type": "buy"})

    bench.run()

    assert bench.lines()[0]["amplitude_id"] == 100_000_000_001
    assert bench.rows("SELECT device_id FROM device") == [("device-9",)]
    assert bench.rows("SELECT count(*) FROM user") == [(0,)]
    assert bench.dedupe_keys() == 0
    assert bench.rows("SELECT count(*) FROM person") == [(1,)]


def test_a_failed_attempt_takes_back_what_it_did_to_known_devices(bench: Any) -> None:
    anonymous = {"device_id": "device-2", "event_type": "buy"}
    bench.send({**EVENT, "user_id": "shopper-1"}, anonymous)
    bench.run()
    moves = TWO_LINES[:-1] + b',"user_id":"shopper-1"}'
    bench.append(body(good(1), moves), count=2)
    bench.send(anonymous)

    bench.run()

    assert bench.lines()[-1]["amplitude_id"] == bench.lines()[1]["amplitude_id"]
    assert bench.rows("SELECT count(*) FROM merge") == [(0,)]


def test_a_retried_event_is_new_and_held_no_longer(bench: Any) -> None:
    bench.append(body(TWO_LINES[:-1] + b',"insert_id":"one"}'))
    bench.run()
    (row,) = held(bench.store.connection, 10)
    place = (row.partition, row.position, row.index)

    for _ in range(2):
        bench.append(body(row.event.replace(b"\n", b"")), retry_of=place)
    bench.processor.run_round()
    bench.crash()
    bench.run()
    bench.append(body(row.event.replace(b"\n", b"")), retry_of=place)
    bench.run()

    assert [line["$insert_id"] for line in bench.lines()] == ["one"]
    expected = {"accepted": 4, "exported": 1, "held": 1, "duplicates": 2}
    assert bench.counts() | expected == bench.counts()
    assert held(bench.store.connection, 10) == []


def test_an_event_that_is_retried_in_vain_is_held_once(bench: Any) -> None:
    bench.append(body(TWO_LINES))
    bench.run()
    (row,) = held(bench.store.connection, 10)

    again = bench.append(body(row.event), retry_of=(row.partition, row.position, row.index))
    bench.run()

    (row,) = held(bench.store.connection, 10)
    assert row.position == again.position
    assert bench.counts() | {"accepted": 2, "held": 2} == bench.counts()


def test_one_event_of_a_wrong_type_does_not_hold_the_others(bench: Any) -> None:
    bench.append(body(good(1), b'{"event_type":7}', good(2)), count=3)

    bench.run()

    assert [line["$insert_id"] for line in bench.lines()] == ["1", "2"]
    assert [row.index for row in held(bench.store.connection, 10)] == [1]


def test_an_event_without_any_id_is_held(bench: Any) -> None:
    bench.append(body(b'{"event_type":"buy"}'))

    bench.run()

    assert bench.counts()["held"] == 1


@pytest.mark.parametrize(
    "whole",
    [b"", b"\xff\xfe", b"[]", b'{"events":{}}', b'{"events":[{"event_type":"a"}]}', b"[" * 9000],
    ids=["empty", "no text", "no object", "no list", "count differs", "deep"],
)
def test_a_body_that_does_not_decode_is_held_with_all_its_events(bench: Any, whole: bytes) -> None:
    bench.append(whole, count=5)
    bench.send(EVENT)

    bench.run()

    assert bench.counts() | {"accepted": 6, "exported": 1, "held": 5} == bench.counts()
    (row,) = held(bench.store.connection, 10)
    assert (row.index, row.events, row.event) == (-1, 5, whole)


def test_errors_of_the_database_stop_the_processor_and_hold_nothing(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send(EVENT)

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("tailrace.state.processing_rows._find", broken)
    with pytest.raises(sqlite3.OperationalError):
        bench.processor.run_round()
    with pytest.raises(InUse):
        bench.processor.checkpoint()
    monkeypatch.undo()
    bench.crash()
    bench.run()

    assert len(bench.lines()) == 1


def test_a_device_moved_by_another_project_of_the_batch_keeps_its_first_event(bench: Any) -> None:
    """When look-ups are made, it is not known which id the device will have in the end."""
    jo_here = {"device_id": "device-1", "user_id": "jo-12345", "event_type": "buy"}
    bench.send(jo_here)
    bench.send({"device_id": "device-2", "event_type": "buy"})
    bench.run()
    bench.crash()
    bench.send({**jo_here, "device_id": "device-2"}, project=300002)
    bench.send({"device_id": "device-2", "event_type": "buy"})

    bench.run()

    last = bench.lines()[-1]
    assert last["amplitude_id"] == bench.lines()[0]["amplitude_id"]
    assert "first_event" not in last["data"]


def test_the_folder_has_one_processor(bench: Any) -> None:
    with pytest.raises(InUse, match="the processor"):
        Processor(
            bench.log,
            bench.store,
            bench.archive,
            bench.clock,
            bench.files,
            lambda project: bench.settings,
            bench.folder / "processing.lock",
        )


def test_every_start_draws_a_new_epoch(bench: Any) -> None:
    first = bench.processor.epoch

    assert bench.crash().epoch == first + 1


def test_dates_that_are_far_away_are_counted_together(bench: Any) -> None:
    days = ("2015-12-31", "2016-01-01", "2027-12-31", "2028-01-01", "9999-12-30")
    for _ in range(2):
        noons = [datetime.fromisoformat(f"{day} 12:00+00:00").timestamp() for day in days]
        bench.send(*({**EVENT, "time": int(noon * 1000)} for noon in noons))
        bench.run()

    assert bench.rows("SELECT date, events FROM event_date ORDER BY date") == [
        ("2016-01-01", 2),
        ("2027-12-31", 2),
        ("earlier", 2),
        ("later", 4),
    ]


def test_event_dates_and_stamps_of_an_hour_are_kept(bench: Any) -> None:
    first = bench.send({**EVENT, "time": 1_700_000_000_000}, EVENT)
    bench.run()
    last = bench.send({**EVENT, "time": 1_700_000_000_000}, {**EVENT, "event_type": "$identify"})

    bench.run()

    assert bench.rows("SELECT date, events FROM event_date ORDER BY date") == [
        ("2023-11-14", 2),
        ("2026-03-05", 1),
    ]
    assert bench.rows("SELECT first_stamp, last_stamp FROM project_hour") == [
        (first.stamp, last.stamp)
    ]
