"""Manual exports that are paused, resumed and cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tailrace.errors import BadRequest, Halted, LeaseLost
from tailrace.state.manual_exports import ManualExports
from tests.state.by_hand import LATER, claim, held, old, start, states

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_a_paused_export_gives_out_no_run_and_goes_on_where_it_was(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30, -29, -28)
    export = start(exports, books, added)
    books.deliver(held(books))
    exports.pause(export.id)
    assert claim(books) is None
    exports.resume(export.id)
    assert held(books).hour == books.today.plus(-29)


def test_a_run_in_work_hears_of_a_pause_when_it_renews_and_is_due_once_it_goes_on(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30)
    export = start(exports, books, added)
    taken = held(books)
    exports.pause(export.id)
    with pytest.raises(Halted, match="is paused"):
        books.ledger.renew(taken, 5, now_micros=0)
    books.put_all(taken)
    books.ledger.waiting(taken)
    assert set(states(books, export).values()) == {"pending"}
    assert claim(books) is None
    exports.resume(export.id)
    again = held(books)
    assert [done for _, done in books.ledger.files(again)] == [True]
    assert [one.outcome for one in again.tries] == ["let go"]


def test_a_run_that_ends_while_its_export_is_paused_counts(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30)
    export = start(exports, books, added)
    taken = held(books)
    exports.pause(export.id)
    books.deliver(taken)
    assert exports.get(export.id).state == "finished"


def test_cancelling_owes_nothing_more_and_keeps_what_was_delivered(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    hours = old(books, -30, -29, -28)
    export = start(exports, books, added)
    books.deliver(held(books))
    in_work = held(books)
    exports.cancel(export.id)
    assert states(books, export) == {
        hours[2]: "success",
        hours[1]: "running",
        hours[0]: "cancelled",
    }
    assert claim(books) is None
    with pytest.raises(Halted, match="is cancelled"):
        books.ledger.renew(in_work, 5, now_micros=0)
    assert books.ledger.is_cancelled(in_work)
    books.ledger.cancelled(in_work)
    assert states(books, export)[hours[1]] == "cancelled"
    assert exports.get(export.id).state == "cancelled"
    assert not books.ledger.file_is_owed(books.project, hours[1])


def test_an_upload_that_a_cancelled_export_began_is_given_out_to_be_aborted(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30, -29)
    export = start(exports, books, added)
    lost, waits = held(books), held(books)
    books.ledger.upload_started(lost, "k#1", "first")
    books.ledger.upload_started(waits, "k#1", "second")
    books.ledger.retry(waits, books.busy, 10**9)
    exports.cancel(export.id)
    again = held(books)
    assert (again.upload_id, again.cancelled) == ("second", True)
    assert books.ledger.upload_of(again) == ("k#1", "second")
    books.ledger.renew(again, LATER, now_micros=0)
    books.ledger.upload_ended(again)
    books.ledger.cancelled(again)
    assert claim(books) is None, "the other one's holder may still live"
    last = held(books, LATER)
    assert (last.upload_id, last.cancelled) == ("first", True)
    books.ledger.cancelled(last)
    with pytest.raises(LeaseLost):
        books.ledger.file_delivered(lost, 1, "k#1", "put", 5)
    assert set(states(books, export).values()) == {"cancelled"}


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_what_is_over_can_not_be_changed(books: Books, exports: ManualExports, verb: str) -> None:
    added = books.active()
    export = start(exports, books, added)
    with pytest.raises(BadRequest, match=f"Cannot {verb} the manual export 1: it is finished"):
        getattr(exports, verb)(export.id)
