"""Automatic exports off and on: what is missed is owed afterwards, but for what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tailrace.errors import BadRequest
from tailrace.state.audit import entries
from tailrace.state.switching import LeftOut, MissedHour

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_hours_sealed_while_paused_are_missed_and_owed_once_it_goes_on(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    books.deliver(books.held())
    paused = books.destinations.pause(added.id)
    assert paused.paused_micros == books.clock.now_micros()
    missed = [books.today.plus(1), books.today.plus(2)]
    books.seal(*missed, files=2)

    assert books.destinations.missed(added.id) == [
        MissedHour("events", hour, files=2, lines=20, size_bytes=2003) for hour in missed
    ]
    assert books.destinations.owed_runs(added.id) == 0
    assert books.claim() is None

    on = books.destinations.resume(paused, books.capabilities)
    assert (on.state, on.paused_micros, on.from_hour) == ("active", None, books.today)
    assert books.destinations.missed(added.id) == []
    assert books.destinations.owed_runs(added.id) == 2
    assert books.states() == {
        (added.id, "events", books.today): "success",
        **{(added.id, "events", hour): "pending" for hour in missed},
    }
    assert books.ledger.check_derived() == 0


def test_what_was_owed_before_the_pause_waits_and_is_not_missed(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    paused = books.destinations.pause(added.id)
    assert books.destinations.missed(added.id) == []
    assert books.destinations.owed_runs(added.id) == 1
    assert books.claim() is None
    books.destinations.resume(paused, books.capabilities)
    assert books.held().hour == books.today


def test_hours_left_out_are_cancelled_and_never_owed_again(books: Books) -> None:
    added = books.active()
    paused = books.destinations.pause(added.id)
    hours = [books.today.plus(number) for number in range(4)]
    books.seal(*hours)
    left_out = LeftOut("events", hours[1], hours[3])

    books.destinations.resume(paused, books.capabilities, left_out=(left_out, left_out))

    assert [state for _, state in sorted(books.states().items())] == [
        "pending",
        "cancelled",
        "cancelled",
        "pending",
    ]
    books.destinations.pause(added.id)
    assert books.destinations.missed(added.id) == []
    trail = entries(books.engine, of=f"destination {added.id}")
    assert trail[1].what == "resumed"
    assert (trail[1].detail["newly_owed"], trail[1].detail["left_out"]) == (2, 2)


def test_an_open_hour_is_not_missed_yet_and_can_not_be_left_out(books: Books) -> None:
    added = books.active()
    paused = books.destinations.pause(added.id)
    books.ledger.add_files([books.file(books.today)], books.organization)
    assert books.destinations.missed(added.id) == []
    whole = LeftOut("events", books.today, books.today.next())
    books.destinations.resume(paused, books.capabilities, left_out=(whole,))
    assert books.states() == {(added.id, "events", books.today): "pending"}


def test_merged_ids_are_missed_by_hours_of_their_own(books: Books) -> None:
    added = books.active(merged=True)
    paused = books.destinations.pause(added.id)
    books.seal(books.today, scope=-books.organization)
    books.seal(books.today)
    assert [one.data_type for one in books.destinations.missed(added.id)] == [
        "events",
        "merged-ids",
    ]
    only = LeftOut("merged-ids", books.today, books.today.next())
    books.destinations.resume(paused, books.capabilities, left_out=(only,))
    assert books.states() == {
        (added.id, "events", books.today): "pending",
        (added.id, "merged-ids", books.today): "cancelled",
    }


def test_what_was_probed_must_still_be_so(books: Books) -> None:
    added = books.setting_up()
    other = msgspec.structs.replace(added, bucket="elsewhere")
    with pytest.raises(BadRequest, match="changed it meanwhile"):
        books.destinations.activate(added.id, books.capabilities, probed=other)
    active = books.destinations.activate(added.id, books.capabilities, probed=added)
    books.destinations.pause(active.id)
    with pytest.raises(BadRequest, match="changed it meanwhile"):
        books.destinations.activate(active.id, books.capabilities, probed=active)
    assert books.destinations.get(added.id).state == "paused"


def test_another_destination_s_missed_hours_are_not_touched(books: Books) -> None:
    first, second = books.active(bucket="one"), books.active(bucket="two")
    paused = books.destinations.pause(first.id)
    books.destinations.pause(second.id)
    books.seal(books.today)
    books.destinations.resume(
        paused,
        books.capabilities,
        left_out=(LeftOut("events", books.today, books.today.next()),),
    )
    assert books.states() == {(first.id, "events", books.today): "cancelled"}
    assert len(books.destinations.missed(second.id)) == 1
