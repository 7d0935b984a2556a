"""What status pages read of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tailrace.state import reports
from tailrace.state.reports import Lag, RunCount, SealedCount

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_runs_are_counted_by_destination_and_state(books: Books) -> None:
    first, second = books.active(bucket="one"), books.active(bucket="two")
    books.seal(books.today, books.today.next())
    held = books.held()
    assert held.destination_id == first.id
    books.deliver(held)
    assert books.ledger.run_counts() == [
        RunCount(first.id, "pending", 1),
        RunCount(first.id, "success", 1),
        RunCount(second.id, "pending", 2),
    ]


def test_sealed_hours_are_counted_by_scope(books: Books) -> None:
    books.seal(books.today.next(), books.today)
    books.seal(books.today, scope=-books.organization)
    assert books.ledger.sealed_counts() == [
        SealedCount(-books.organization, 1, books.today),
        SealedCount(books.project, 2, books.today.next()),
    ]


def test_the_lag_is_from_the_newest_sealed_to_the_oldest_owed_hour(books: Books) -> None:
    added = books.active()
    assert books.ledger.lags() == [Lag(added.id, None, None)]
    books.seal(*(books.today.plus(n) for n in range(3)))
    books.ledger.add_files([books.file(books.today.plus(3))], books.organization)
    assert books.ledger.lags() == [Lag(added.id, books.today.plus(2), books.today)]
    for _ in range(4):
        held = books.held()
        books.put_all(held)
        if held.hour == books.today.plus(3):
            books.ledger.waiting(held)
        else:
            books.ledger.succeeded(held, 1)
    assert books.ledger.lags() == [Lag(added.id, books.today.plus(2), None)]


def test_runs_are_listed_newest_first_and_narrowed_by_each_filter(books: Books) -> None:
    first = books.active(bucket="one", merged=True)
    second = books.active(bucket="two")
    books.seal(books.today, books.today.next())
    books.seal(books.today, scope=-books.organization)
    books.deliver(books.held())
    listed = books.ledger.runs()
    assert [run.hour for run in listed] == sorted((run.hour for run in listed), reverse=True)
    assert len(listed) == 5
    assert {run.destination_id for run in books.ledger.runs(destination_id=second.id)} == {
        second.id
    }
    assert [run.data_type for run in books.ledger.runs(scope=-books.organization)] == ["merged-ids"]
    assert {run.hour for run in books.ledger.runs(hour=books.today)} == {books.today}
    done = books.ledger.runs(states=("success",))
    assert [(run.destination_id, run.hour) for run in done] == [(first.id, books.today.next())]
    assert {run.hour for run in books.ledger.runs(before=books.today.next())} == {books.today}


def test_a_list_of_runs_has_an_upper_limit(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.active()
    books.seal(*(books.today.plus(n) for n in range(5)))
    assert len(books.ledger.runs(limit=2)) == 2
    monkeypatch.setattr(reports, "RUNS_MAX", 3)
    assert len(books.ledger.runs(limit=1000)) == 3


def test_a_list_of_runs_goes_on_behind_those_that_are_known(books: Books) -> None:
    books.active()
    books.seal(*(books.today.plus(n) for n in range(5)))
    every = books.ledger.runs()
    assert [*books.ledger.runs(limit=3), *books.ledger.runs(skip=3, limit=3)] == every


def test_a_run_tells_what_its_hour_holds_whatever_lies_beside_it(books: Books) -> None:
    books.active(merged=True)
    files = [books.file(books.today, number) for number in (1, 2)]
    books.ledger.add_files(files, books.organization)
    books.seal(books.today.next())
    books.seal(books.today, scope=-books.organization)
    shown = {one.data_type: one for one in books.ledger.runs(hour=books.today)}
    assert shown["events"].files == 2
    assert shown["events"].lines == sum(one.lines for one in files)
    assert shown["events"].size_bytes == sum(one.size_bytes for one in files)
    assert shown["merged-ids"].files == 1


def test_an_hour_without_files_holds_nothing(books: Books) -> None:
    books.active()
    books.seal(books.today, files=0)
    (run,) = books.ledger.runs()
    assert (run.files, run.lines, run.size_bytes) == (0, 0, 0)


def test_a_run_of_an_open_hour_says_so(books: Books) -> None:
    books.active()
    books.ledger.add_files([books.file(books.today)], books.organization)
    run = books.ledger.runs()[0]
    assert (run.sealed, run.files, run.files_delivered) == (False, 1, 0)
    assert run.created_micros == books.clock.now_micros()
