from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.hours import HOUR_MICROS
from tailrace.process.dedupe import MARGIN_MICROS, WINDOW_MICROS, Dedupe

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
    bench.send({**EVENT, "insert_id": "kept"}, stamp=first.stamp + MARGIN_MICROS)
    bench.run()
    assert bench.dedupe_keys() == 2

    bench.tick(stamp=first.stamp + WINDOW_MICROS + MARGIN_MICROS + 1)
    bench.run()
    bench.send({**EVENT, "insert_id": "kept"})
    bench.run()

    assert bench.dedupe_keys() == 2
    hour = type(bench.hour).of_micros(bench.stamp)
    assert bench.counts(hour=hour)["exported"] == 1


def test_keys_of_two_days_in_one_checkpoint_age_apart(bench: Any) -> None:
    midnight = bench.hour.day_start().plus(24).start_micros
    bench.send({**EVENT, "insert_id": "before"}, stamp=midnight - 1)
    bench.send({**EVENT, "insert_id": "after"}, stamp=midnight)
    bench.run()
    assert bench.dedupe_keys() == 2

    bench.tick(stamp=midnight + WINDOW_MICROS + MARGIN_MICROS)
    bench.run()

    assert bench.dedupe_keys() == 1


def test_events_that_a_release_of_the_first_format_took_are_still_known(bench: Any) -> None:
    bench.run()
    bench.stop()
    # As that release kept them: a table, and a keyed hash of the same name.
    key = hashlib.blake2b(b"300001 8 device-1one", digest_size=16, key=b"k" * 32).digest()
    old = sqlite3.connect(bench.folder / "processing.sqlite")
    old.executescript(
        "UPDATE meta SET value = 1 WHERE name = 'format';"
        "DELETE FROM meta WHERE name = 'dedupe_hash';"
        "DROP TABLE dedupe_run;"
        "CREATE TABLE dedupe (key BLOB PRIMARY KEY, stamp INTEGER) WITHOUT ROWID;"
    )
    old.execute("INSERT INTO dedupe VALUES (?, ?)", (key, bench.stamp - 1))
    old.commit()
    old.close()
    bench.start()
    bench.send(EVENT, {**EVENT, "insert_id": "two"})
    bench.run()
    bench.crash()
    bench.send(EVENT, {**EVENT, "insert_id": "two"})

    bench.run()

    assert bench.counts() | {"exported": 1, "duplicates": 3} == bench.counts()


@given(st.lists(names, max_size=40, unique=True))
def test_different_names_have_different_keys(names: list[tuple[int, str, str]]) -> None:
    dedupe = Dedupe(Stored({}), b"k" * 32)

    assert len({dedupe.key(*name) for name in names}) == len(names)


def test_the_key_of_another_installation_is_another_one() -> None:
    one, other = Dedupe(Stored({}), b"k" * 32), Dedupe(Stored({}), b"l" * 32)

    assert one.key(1, "d", "i") != other.key(1, "d", "i")
    assert len(one.key(1, "d", "i")) == 16


class Stored:
    """Committed keys in a dictionary."""

    def __init__(self, keys: dict[bytes, int]) -> None:
        self.keys = keys

    def find(self, keys: Collection[bytes]) -> dict[bytes, int]:
        return {key: self.keys[key] for key in keys if key in self.keys}

    def write(
        self, connection: Any, keys: Mapping[bytes, int], *, last_stamp: int, older_than: int
    ) -> None:
        self.keys |= keys

    def saved(self) -> None:
        return

    def close(self) -> None:
        return


portions = st.lists(st.none() | st.integers(0, 8), max_size=8)


@given(st.lists(st.tuples(portions, st.sampled_from(["keep", "fail", "commit"])), max_size=20))
def test_claims_are_those_of_a_loop_over_events_and_failed_ones_leave_nothing(
    sent: list[tuple[list[int | None], str]],
) -> None:
    dedupe = Dedupe(Stored({}), b"k" * 32)
    known: dict[int, int] = {}
    stamp = 1

    for numbers, outcome in sent:
        # Some portions come after the window of the first ones is over.
        stamp += WINDOW_MICROS // 3
        keys = [None if number is None else number.to_bytes(16, "big") for number in numbers]
        dedupe.look_up({key for key in keys if key is not None})
        before = dict(known)
        expected = set()
        for offset, number in enumerate(numbers):
            if number is None:
                continue
            if number in known and stamp - known[number] <= WINDOW_MICROS:
                expected.add(offset)
            else:
                known[number] = stamp

        assert set(dedupe.claim(keys, stamp)) == expected
        if outcome == "fail":
            dedupe.give_back()
            known = before
        elif outcome == "commit":
            dedupe.write(None, stamp)  # type: ignore[arg-type]  # the dictionary needs none
            dedupe.saved()


def test_repeats_are_found_however_many_runs_lie_between(bench: Any) -> None:
    # Enough commits for several merges of small runs.
    for number in range(70):
        bench.send({**EVENT, "insert_id": f"{number}"}, stamp=bench.stamp + HOUR_MICROS // 2)
        bench.run()
    bench.crash()
    bench.send(*({**EVENT, "insert_id": f"{number}"} for number in range(-5, 70)))

    bench.run()

    hour = type(bench.hour).of_micros(bench.stamp)
    assert bench.counts(hour=hour)["duplicates"] >= 70
    total = bench.rows("SELECT sum(exported), sum(duplicates) FROM project_hour")
    assert total == [(75, 70)]
