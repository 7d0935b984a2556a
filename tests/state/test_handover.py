"""Handing over is idempotent, and stops at the first sign of other content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tailrace.errors import Corrupt

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_what_is_handed_over_can_be_read_back(books: Books) -> None:
    sealed = books.hour(books.today, files=3)
    books.ledger.add_hours([sealed])
    assert books.ledger.sealed_hour(books.project, books.today) == sealed


def test_an_open_hour_is_not_sealed(books: Books) -> None:
    books.ledger.add_files([books.file(books.today)], books.organization)
    assert books.ledger.sealed_hour(books.project, books.today) is None


def test_handing_over_again_changes_nothing(books: Books) -> None:
    books.active()
    early, sealed = [books.file(books.today)], [books.hour(books.today, files=2)]
    books.ledger.add_files(early, books.organization)
    books.ledger.add_hours(sealed)
    books.deliver(books.held())
    before = books.ledger.runs()
    books.clock.advance(1_000_000)
    books.ledger.add_files(early, books.organization)
    books.ledger.add_hours(sealed)
    assert books.ledger.runs() == before


def test_repeating_an_early_file_wakes_no_run_that_waits(books: Books) -> None:
    books.active()
    books.ledger.add_files([books.file(books.today)], books.organization)
    held = books.held()
    books.put_all(held)
    books.ledger.waiting(held)
    books.ledger.add_files([books.file(books.today)], books.organization)
    assert books.claim() is None


@pytest.mark.parametrize(
    "field",
    [
        {"sha256": "0" * 64},
        {"size_bytes": 1},
        {"name": "other.json.gz"},
        {"crc32": 7},
        {"lines": 11},
        {"raw_bytes": 1},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_known_file_with_other_content_is_refused(
    books: Books, field: dict[str, int | str]
) -> None:
    file = books.file(books.today)
    books.ledger.add_files([file], books.organization)
    other = msgspec.structs.replace(file, **field)
    with pytest.raises(Corrupt, match="the ledger knows it"):
        books.ledger.add_files([other], books.organization)
    sealed = msgspec.structs.replace(books.hour(books.today), files=(other,))
    with pytest.raises(Corrupt, match="the ledger knows it"):
        books.ledger.add_hours([sealed])


def test_a_known_hour_with_another_record_is_refused(books: Books) -> None:
    books.active()
    books.seal(books.today)
    others = [books.hour(books.today.next()), books.hour(books.today, body="other")]
    with pytest.raises(Corrupt):
        books.ledger.add_hours(others)
    same_files = msgspec.structs.replace(books.hour(books.today), digest="0" * 64)
    with pytest.raises(Corrupt, match="digest"):
        books.ledger.add_hours([books.hour(books.today.next()), same_files])
    assert [run.hour for run in books.ledger.runs()] == [books.today]


def test_a_seal_record_that_leaves_an_early_file_out_is_refused(books: Books) -> None:
    books.ledger.add_files([books.file(books.today, 2)], books.organization)
    with pytest.raises(Corrupt, match=r"does not name .*#2"):
        books.seal(books.today, files=1)
    assert books.ledger.sealed_hour(books.project, books.today) is None


def test_a_new_file_of_a_sealed_hour_is_refused(books: Books) -> None:
    books.seal(books.today)
    with pytest.raises(Corrupt, match="sealed without it"):
        books.ledger.add_files([books.file(books.today, 2)], books.organization)
    sealed = books.ledger.sealed_hour(books.project, books.today)
    assert sealed is not None
    assert len(sealed.files) == 1


def test_many_hours_are_handed_over_in_one_call(books: Books) -> None:
    books.active()
    hours = [books.today.plus(n) for n in range(50)]
    books.seal(*hours, files=2)
    books.seal(*hours, files=2)
    assert len(books.states()) == 50


def test_a_scope_between_those_handed_over_is_no_part_of_them(books: Books) -> None:
    books.ledger.add_files([books.file(books.today, 2, scope=5)], books.organization)
    both = [books.hour(books.today, scope=scope) for scope in (4, 6)]
    books.ledger.add_hours(both)
    books.ledger.add_hours(both)
    assert books.ledger.sealed_hour(5, books.today) is None
    assert [file.scope for file in books.ledger.open_files()] == [5]


def test_the_first_and_the_last_scope_handed_over_are_compared(books: Books) -> None:
    hours = [books.hour(books.today, scope=scope) for scope in (-7, 4, 6)]
    books.ledger.add_hours(hours)
    for changed in range(3):
        others = list(hours)
        others[changed] = msgspec.structs.replace(hours[changed], digest="0" * 64)
        with pytest.raises(Corrupt, match="digest"):
            books.ledger.add_hours(others)


def test_an_empty_hour_has_no_files_and_is_owed(books: Books) -> None:
    books.active()
    books.seal(books.today, files=0)
    held = books.held()
    assert books.ledger.files(held) == []
    books.ledger.succeeded(held, 1)
    assert set(books.states().values()) == {"success"}


def test_the_newest_sealed_hour_of_each_scope_is_known(books: Books) -> None:
    books.seal(books.today.next(), books.today)
    books.seal(books.today, scope=-books.organization)
    newest = books.ledger.newest_sealed()
    assert newest == {
        books.project: (books.today.next(), books.hour(books.today.next()).digest),
        -books.organization: (
            books.today,
            books.hour(books.today, scope=-books.organization).digest,
        ),
    }


def test_the_files_of_open_hours_are_known(books: Books) -> None:
    books.seal(books.today)
    early = books.file(books.today.next(), 2)
    books.ledger.add_files([early], books.organization)
    assert books.ledger.open_files() == [early]
