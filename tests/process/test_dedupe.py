from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.process.dedupe import SWEEP_MARGIN_MICROS, WINDOW_MICROS, Dedupe
from tailrace.state.processing import ProcessingStore

EVENT = {"device_id": "device-1", "event_type": "buy", "insert_id": "one"}

names = st.tuples(st.integers(1, 30), st.text(max_size=4), st.text(max_size=4))


def test_a_repeat_in_the_same_request_is_a_duplicate(bench: Any) -> None:
    bench.send(EVENT, EVENT, {**EVENT, "insert_id": "two"})

    bench.run()

    assert [line["$insert_id"] for line in bench.lines()] == ["one", "two"]
    assert bench.counts()["duplicates"] == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_repeat_in_a_later_request_is_a_duplicate(bench: Any, committed: bool) -> None:
    bench.send(EVENT)
    if committed:
        bench.run()
    bench.send(EVENT)

    bench.run()

    assert bench.counts() | {"exported": 1, "duplicates": 1} == bench.counts()


def test_events_of_other_devices_and_projects_are_not_duplicates(bench: Any) -> None:
    bench.send(EVENT, {**EVENT, "device_id": "device-2"})
    bench.send(EVENT, project=300002)

    bench.run()

    assert len(bench.lines()) == 2
    assert len(bench.lines(300002)) == 1


def test_the_device_id_is_the_derived_one(bench: Any) -> None:
    by_user = {"user_id": "shopper-1", "event_type": "buy", "insert_id": "one"}
    bench.send(by_user)
    bench.run()
    (line,) = bench.lines()
    bench.send({**by_user, "device_id": line["device_id"]})

    bench.run()

    assert bench.counts()["duplicates"] == 1


def test_events_without_an_insert_id_are_never_duplicates(bench: Any) -> None:
    plain = {"device_id": "device-1", "event_type": "buy"}
    bench.send(plain, plain, {**plain, "insert_id": ""}, {**plain, "insert_id": ""})

    bench.run()

    assert len(bench.lines()) == 4
    assert [line["$insert_id"] for line in bench.lines()] == [None] * 4


@pytest.mark.parametrize(("beyond", "duplicates"), [(0, 1), (1, 0)])
def test_the_window_is_seven_days_to_the_microsecond(
    bench: Any, beyond: int, duplicates: int
) -> None:
    first = bench.send(EVENT)
    bench.run()
    later = bench.send(EVENT, stamp=first.stamp + WINDOW_MICROS + beyond)

    bench.run()

    hour = type(bench.hour).of_micros(later.stamp)
    assert bench.counts(hour=hour)["duplicates"] == duplicates


def test_a_duplicate_does_not_prolong_the_window(bench: Any) -> None:
    first = bench.send(EVENT)
    bench.send(EVENT, stamp=first.stamp + WINDOW_MICROS)
    bench.send(EVENT, stamp=first.stamp + WINDOW_MICROS + 1)

    bench.run()

    total = bench.rows("SELECT sum(exported), sum(duplicates) FROM project_hour")
    assert total == [(2, 1)]


def test_too_old_keys_are_dropped_at_checkpoints_and_no_others(bench: Any) -> None:
    first = bench.send(EVENT)
    bench.run()
    bench.send({**EVENT, "insert_id": "kept"}, stamp=first.stamp + SWEEP_MARGIN_MICROS)
    bench.run()

    bench.tick(stamp=first.stamp + WINDOW_MICROS + SWEEP_MARGIN_MICROS + 1)
    bench.run()

    assert bench.rows("SELECT stamp FROM dedupe") == [(first.stamp + SWEEP_MARGIN_MICROS,)]


def test_the_sweep_goes_round_in_bounded_portions(bench: Any) -> None:
    keys = [n.to_bytes(16, "big") for n in range(12_000)]
    with bench.store.transaction() as connection:
        connection.executemany(
            "INSERT INTO dedupe VALUES (?, 1, 1, 1, 0)", [(key,) for key in keys]
        )
    left = []

    for _ in range(3):
        bench.tick()
        bench.run()
        left += [row[0] for row in bench.rows("SELECT count(*) FROM dedupe")]

    assert left == [7_000, 2_000, 0]


@given(st.lists(names, max_size=40, unique=True))
def test_different_names_have_different_keys(names: list[tuple[int, str, str]]) -> None:
    dedupe = Dedupe(None, b"k" * 32, b"")  # type: ignore[arg-type]  # `key` reads no database

    assert len({dedupe.key(*name) for name in names}) == len(names)


def test_the_very_same_event_is_no_duplicate_of_itself(bench: Any) -> None:
    store: ProcessingStore = bench.store
    dedupe = Dedupe(store.connection, b"k" * 32, b"")
    key = dedupe.key(1, "d", "i")

    assert not dedupe.is_duplicate((key, 10, 1, 5, 0), [])
    assert not dedupe.is_duplicate((key, 10, 1, 5, 0), [])
    assert dedupe.is_duplicate((key, 10, 1, 5, 1), [])
    assert dedupe.is_duplicate((key, 10, 2, 5, 0), [])
