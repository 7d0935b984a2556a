"""While access is refused nothing is tried; when it returns everything owed goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_an_outage_begins_once_and_with_the_failure(books: Books) -> None:
    added = books.active()
    books.seal(books.today, books.today.next())
    first, second = books.held(), books.held()
    assert books.ledger.failed(first, books.refused, next_probe_micros=900) is True
    assert books.ledger.failed(second, books.refused, next_probe_micros=950) is False
    assert books.ledger.begin_outage(added.id, books.refused, 999) is False
    found = books.destinations.get(added.id)
    assert found.outage_since_micros == books.clock.now_micros()
    assert (found.outage_cause, found.next_probe_micros) == (books.refused, 900)


def test_hours_sealed_during_an_outage_are_owed_and_not_tried(books: Books) -> None:
    added = books.active()
    other = books.active(bucket="other")
    books.ledger.begin_outage(added.id, books.refused, 900)
    books.seal(books.today)
    assert books.held().destination_id == other.id
    assert books.claim(10**15, limit=1) is not None  # the other one's lease ran out
    assert books.states()[added.id, "events", books.today] == "pending"


def test_a_probe_is_due_at_its_time(books: Books) -> None:
    first, second = books.active(bucket="one"), books.active(bucket="two")
    books.active(bucket="three")
    books.ledger.begin_outage(first.id, books.refused, 900)
    books.ledger.begin_outage(second.id, books.refused, 800)
    assert books.ledger.probe_due(799) == []
    assert books.ledger.probe_due(800) == [second.id]
    assert books.ledger.probe_due(900) == [second.id, first.id]


def test_a_failed_probe_keeps_the_outage_under_its_newest_cause(books: Books) -> None:
    added = books.active()
    books.ledger.begin_outage(added.id, books.refused, 900)
    since = books.destinations.get(added.id).outage_since_micros
    books.clock.advance(900)
    newer = msgspec.structs.replace(books.refused, code="NoSuchBucket")
    books.ledger.probe_failed(added.id, newer, 1800)
    found = books.destinations.get(added.id)
    assert (found.outage_since_micros, found.outage_cause) == (since, newer)
    assert books.ledger.probe_due(1799) == []


def test_a_late_answer_of_a_probe_begins_no_outage(books: Books) -> None:
    added = books.active()
    books.ledger.probe_failed(added.id, books.refused, 1800)
    assert books.destinations.get(added.id).outage_since_micros is None


def test_the_end_of_an_outage_makes_every_owed_hour_due(books: Books) -> None:
    added = books.active()
    books.seal(books.today, books.today.plus(1), books.today.plus(2))
    waiting, failing, conflicting = books.held(), books.held(), books.held()
    books.ledger.retry(waiting, books.refused, 10**15)
    books.ledger.conflict(conflicting, books.refused, "k")
    books.ledger.failed(failing, books.refused, next_probe_micros=900)
    books.seal(books.today.plus(3))
    assert books.ledger.end_outage(added.id) is True
    assert books.ledger.end_outage(added.id) is False
    found = books.destinations.get(added.id)
    assert (found.outage_cause, found.outage_since_micros) == (None, None)
    assert found.next_probe_micros is None
    again = [books.held() for _ in range(3)]
    assert {held.hour for held in again} == {waiting.hour, failing.hour, books.today.plus(3)}
    assert [held.attempts for held in again] == [1, 1, 1]
    assert books.states()[added.id, "events", conflicting.hour] == "conflict"


def test_a_passing_verification_ends_the_outage(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    books.ledger.failed(books.held(), books.refused, next_probe_micros=900)
    books.destinations.activate(added.id, books.capabilities)
    assert books.destinations.get(added.id).outage_since_micros is None
    assert books.claim() is not None


def test_an_outage_of_a_paused_destination_is_not_probed(books: Books) -> None:
    added = books.active()
    books.ledger.begin_outage(added.id, books.refused, 900)
    books.destinations.pause(added.id)
    assert books.ledger.probe_due(10**15) == []
