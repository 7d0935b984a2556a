"""A run is taken, renewed, ended and taken over, always under one lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tailrace.errors import Corrupt, LeaseLost
from tailrace.state.delivery import Delivery

if TYPE_CHECKING:
    from tests.state.conftest import Books

LATER = 60_000_000


def test_a_claimed_run_is_running_and_nobody_else_gets_it(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    held = books.held()
    assert (held.destination_id, held.scope, held.hour) == (added.id, books.project, books.today)
    assert (held.lease, held.attempts, held.upload_id) == (1, 1, None)
    assert set(books.states().values()) == {"running"}
    assert books.claim() is None


def test_a_run_whose_lease_ran_out_is_taken_over_with_its_upload(books: Books) -> None:
    books.active()
    books.seal(books.today)
    first = books.held(now_micros=0)
    books.ledger.upload_started(first, "k#1", "upload-1")
    assert books.claim(LATER - 1) is None
    second = books.held(now_micros=LATER)
    assert (second.lease, second.attempts) == (2, 2)
    assert (second.upload_key, second.upload_id) == ("k#1", "upload-1")


def test_a_renewed_lease_keeps_the_run(books: Books) -> None:
    books.active()
    books.seal(books.today)
    held = books.held(now_micros=0)
    books.ledger.renew(held, 2 * LATER, now_micros=0)
    assert books.claim(2 * LATER - 1) is None
    assert books.claim(2 * LATER) is not None


WRITES: dict[str, Callable[[Books, Delivery], object]] = {
    "renew": lambda b, d: b.ledger.renew(d, 99 * LATER, now_micros=0),
    "upload_started": lambda b, d: b.ledger.upload_started(d, "k", "u"),
    "upload_ended": lambda b, d: b.ledger.upload_ended(d),
    "file_delivered": lambda b, d: b.ledger.file_delivered(d, 1, "k", "put", 1),
    "succeeded": lambda b, d: b.ledger.succeeded(d, 1),
    "waiting": lambda b, d: b.ledger.waiting(d),
    "let_go": lambda b, d: b.ledger.let_go(d),
    "retry": lambda b, d: b.ledger.retry(d, b.busy, 1),
    "failed": lambda b, d: b.ledger.failed(d, b.refused, next_probe_micros=1),
    "conflict": lambda b, d: b.ledger.conflict(d, b.refused, "k"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_holder_that_lost_its_lease_can_write_nothing(books: Books, name: str) -> None:
    books.active()
    books.seal(books.today)
    lost = books.held(now_micros=0)
    books.held(now_micros=LATER)
    before = books.ledger.runs()
    with pytest.raises(LeaseLost, match="another worker"):
        WRITES[name](books, lost)
    assert books.ledger.runs() == before
    assert books.ledger.delivered_files(lost.destination_id, "events", lost.hour) == []
    assert books.destinations.get(lost.destination_id).outage_since_micros is None


@pytest.mark.parametrize("name", WRITES)
def test_a_run_that_ended_can_not_be_written_to(books: Books, name: str) -> None:
    books.active()
    books.seal(books.today)
    held = books.held()
    books.deliver(held)
    with pytest.raises(LeaseLost):
        WRITES[name](books, held)


def test_a_run_succeeds_once_its_hour_is_sealed_and_every_file_is_there(books: Books) -> None:
    books.active()
    books.ledger.add_files([books.file(books.today)], books.organization)
    held = books.held()
    books.put_all(held)
    with pytest.raises(Corrupt, match="hour is open"):
        books.ledger.succeeded(held, 1)
    books.seal(books.today, files=2)
    with pytest.raises(Corrupt, match="1 files are missing"):
        books.ledger.succeeded(held, 1)
    books.deliver(held)
    run = books.ledger.runs()[0]
    assert (run.state, run.files, run.files_delivered, run.finished_micros) == ("success", 2, 2, 8)


def test_delivered_files_survive_a_change_of_holder(books: Books) -> None:
    books.active()
    books.seal(books.today, files=3)
    first = books.held(now_micros=0)
    books.ledger.file_delivered(first, 2, "k#2", "put", 5)
    second = books.held(now_micros=LATER)
    assert [done for _, done in books.ledger.files(second)] == [False, True, False]
    books.ledger.file_delivered(second, 2, "k#2", "found", 6)
    kept = books.ledger.delivered_files(second.destination_id, "events", second.hour)
    assert [(file.number, file.how, file.delivered_micros) for file in kept] == [(2, "put", 5)]


def test_a_delivered_file_ends_the_upload_under_its_key(books: Books) -> None:
    books.active()
    books.seal(books.today, files=2)
    first = books.held(now_micros=0)
    books.ledger.upload_started(first, "k#1", "upload-1")
    books.ledger.file_delivered(first, 2, "k#2", "put", 5)
    second = books.held(now_micros=LATER)
    assert second.upload_id == "upload-1"
    books.ledger.file_delivered(second, 1, "k#1", "put", 5)
    assert books.held(now_micros=2 * LATER).upload_id is None


def test_a_run_with_its_early_files_out_waits_for_the_next_hand_over(books: Books) -> None:
    books.active()
    books.ledger.add_files([books.file(books.today)], books.organization)
    held = books.held()
    books.put_all(held)
    books.ledger.waiting(held)
    assert set(books.states().values()) == {"pending"}
    assert books.claim() is None
    books.ledger.add_files([books.file(books.today, 2)], books.organization)
    again = books.held()
    assert (again.lease, again.attempts) == (2, 1)
    books.put_all(again)
    books.ledger.waiting(again)
    assert books.claim() is None
    books.seal(books.today, files=2)
    books.deliver(books.held())


def test_what_is_handed_over_to_a_busy_run_is_found_when_it_lets_go(books: Books) -> None:
    books.active()
    books.ledger.add_files([books.file(books.today)], books.organization)
    held = books.held()
    books.put_all(held)
    books.ledger.add_files([books.file(books.today, 2)], books.organization)
    books.ledger.waiting(held)
    held = books.held()
    books.put_all(held)
    books.seal(books.today, files=2)
    books.ledger.waiting(held)
    books.deliver(books.held())


def test_refusals_are_counted_beside_tries_and_a_try_that_is_let_go_counts_for_neither(
    books: Books,
) -> None:
    books.active()
    books.seal(books.today)
    ends: list[Callable[[Delivery], object]] = [
        lambda held: books.ledger.retry(held, books.refused, 0),
        lambda held: books.ledger.retry(held, books.busy, 0),
        books.ledger.let_go,
        lambda held: books.ledger.retry(held, books.refused, 0),
        lambda held: books.ledger.conflict(held, books.refused, "k"),
    ]
    counts = []
    for end in ends:
        held = books.held()
        counts.append((held.attempts, held.refusals))
        end(held)
    assert counts == [(1, 0), (2, 1), (3, 1), (3, 1), (4, 2)]

    assert books.ledger.send_again(held.destination_id, "events", held.hour)
    again = books.held()
    assert (again.attempts, again.refusals) == (1, 0)


def test_a_retry_comes_back_at_its_time_with_its_cause(books: Books) -> None:
    books.active()
    books.seal(books.today)
    books.ledger.retry(books.held(), books.busy, 500)
    run = books.ledger.runs()[0]
    assert (run.state, run.due_micros, run.cause) == ("retrying", 500, books.busy)
    assert books.claim(499) is None
    assert books.held(500).attempts == 2


def test_a_failed_run_stays_owed_until_a_person_sends_it_again(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    assert books.ledger.failed(books.held(), books.busy) is False
    assert set(books.states().values()) == {"failed"}
    assert books.claim(10**15) is None
    assert books.ledger.file_is_owed(books.project, books.today)
    assert books.ledger.send_again(added.id, "events", books.today) is True
    assert books.ledger.send_again(added.id, "events", books.today) is False
    assert books.held().attempts == 1


def test_a_conflict_names_its_object_and_waits(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    books.ledger.conflict(books.held(), books.refused, "a/b#1.json.gz")
    run = books.ledger.runs()[0]
    assert run.state == "conflict"
    assert run.cause is not None
    assert run.cause.key == "a/b#1.json.gz"
    assert books.claim(10**15) is None
    assert books.ledger.send_again(added.id, "events", books.today) is True
    books.deliver(books.held())
    assert books.ledger.runs()[0].cause is None


def test_an_exporter_that_starts_again_takes_its_runs_back_at_once(books: Books) -> None:
    books.active()
    books.seal(books.today, books.today.next(), books.today.plus(2))
    lost = [books.held(), books.held()]
    books.ledger.retry(books.held(), books.busy, 10**15)
    assert books.ledger.release_leases() == 2
    assert [books.held().lease for _ in range(2)] == [2, 2]
    assert books.claim() is None
    with pytest.raises(LeaseLost):
        books.ledger.succeeded(lost[0], 1)
