"""Nothing that is owed, or was never delivered, leaves the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_an_hour_is_owed_until_every_destination_has_it(books: Books) -> None:
    assert not books.ledger.file_is_owed(books.project, books.today)
    books.active(bucket="one")
    books.active(bucket="two")
    books.seal(books.today)
    books.deliver(books.held())
    assert books.ledger.file_is_owed(books.project, books.today)
    assert books.ledger.removable_files(10) == []
    books.deliver(books.held())
    assert not books.ledger.file_is_owed(books.project, books.today)


def test_delivered_files_may_go_oldest_first_and_once(books: Books) -> None:
    books.active()
    books.seal(books.today.next(), books.today, files=2)
    for _ in range(2):
        books.deliver(books.held())
    oldest = books.ledger.removable_files(3)
    assert [(file.hour, file.number) for file in oldest] == [
        (books.today, 1),
        (books.today, 2),
        (books.today.next(), 1),
    ]
    assert oldest[0] == books.file(books.today, 1)
    assert books.ledger.removable_files(2, oldest[0]) == oldest[1:]
    assert books.ledger.mark_removed(oldest[0]) is True
    assert books.ledger.mark_removed(oldest[0]) is False
    assert oldest[0] not in books.ledger.removable_files(10)


def test_files_that_no_bucket_has_stay(books: Books) -> None:
    books.seal(books.today)
    assert books.ledger.removable_files(10) == []
    assert books.ledger.mark_removed(books.file(books.today)) is False


def test_files_of_a_failed_or_conflicting_run_stay(books: Books) -> None:
    books.active(bucket="one")
    books.active(bucket="two")
    books.active(bucket="three")
    books.seal(books.today)
    books.deliver(books.held())
    books.ledger.failed(books.held(), books.refused)
    books.ledger.conflict(books.held(), books.refused, "k")
    assert books.ledger.mark_removed(books.file(books.today)) is False


def test_files_that_a_paused_destination_misses_stay_until_it_has_them(books: Books) -> None:
    books.active(bucket="one")
    paused = books.active(bucket="two")
    books.destinations.pause(paused.id)
    books.seal(books.today)
    books.deliver(books.held())
    assert books.ledger.removable_files(10) == []
    assert books.ledger.mark_removed(books.file(books.today)) is False
    books.destinations.activate(paused.id, books.capabilities)
    books.deliver(books.held())
    assert books.ledger.removable_files(10) == [books.file(books.today)]


def test_a_destination_holds_no_files_outside_of_its_interval(books: Books) -> None:
    books.active(bucket="one")
    paused = books.active(bucket="two")
    books.destinations.set_interval(paused.id, books.today.next(), books.today.plus(2))
    books.destinations.pause(paused.id)
    books.active(bucket="three", project=books.add_project(books.organization))
    for offset in range(3):
        books.seal(books.today.plus(offset))
        books.deliver(books.held())
    free = [file.hour for file in books.ledger.removable_files(10)]
    assert free == [books.today, books.today.plus(2)]


def test_files_of_merged_ids_stay_for_whoever_wants_them_later(books: Books) -> None:
    books.active(merged=True)
    books.seal(books.today, scope=-books.organization)
    books.seal(books.today)
    for _ in range(2):
        books.deliver(books.held())
    assert books.ledger.removable_files(10) == [books.file(books.today)]
    merged = books.file(books.today, scope=-books.organization)
    assert books.ledger.mark_removed(merged) is False
