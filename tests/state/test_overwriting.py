"""A manual export that overwrites: what it makes due of the runs that met other content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tailrace.state.delivery import Cause, Destination
from tailrace.state.manual_exports import ManualExports
from tests.state.by_hand import claim, held, start, states

if TYPE_CHECKING:
    from tests.state.conftest import Books

TAKEN = Cause(kind="conflict", code="Conflict", sentence="Other bytes are there.", fix="Look.")


def in_conflict(books: Books, *, bucket: str = "acme", merged: bool = False) -> Destination:
    """Add a destination whose runs of sealed hours are in conflict."""
    added = books.active(bucket=bucket, merged=merged)
    while (taken := books.claim()) is not None:
        books.ledger.conflict(taken, TAKEN, "k#1")
    return added


def overwrite(books: Books, exports: ManualExports, to: Destination) -> None:
    export = start(exports, books, to, 0, 1, overwrite=True)
    while (taken := claim(books)) is not None:
        assert taken.manual_export == export.id
        books.deliver(taken)
    assert exports.get(export.id).state == "finished"


def of(books: Books, to: Destination) -> list[str]:
    return [run.state for run in books.ledger.runs(destination_id=to.id, manual_export=0)]


def test_runs_in_conflict_below_the_same_keys_are_due_with_its_success(
    books: Books, exports: ManualExports
) -> None:
    books.seal(books.today)
    one, two = in_conflict(books), in_conflict(books)
    elsewhere = in_conflict(books, bucket="elsewhere")

    overwrite(books, exports, one)

    assert (of(books, one), of(books, two)) == (["retrying"], ["retrying"])
    assert of(books, elsewhere) == ["conflict"]
    again = [books.held(), books.held()]
    assert {run.destination_id for run in again} == {one.id, two.id}
    assert [(run.attempts, run.refusals) for run in again] == [(1, 0), (1, 0)], "a schedule anew"
    for run in again:
        books.deliver(run)
    assert (of(books, one), of(books, two)) == (["success"], ["success"])


def test_only_those_of_its_hour_and_data_type_are(books: Books, exports: ManualExports) -> None:
    books.seal(books.today, books.today.plus(1))
    books.seal(books.today, scope=-books.organization)
    added = in_conflict(books, merged=True)

    overwrite(books, exports, added)

    runs = books.ledger.runs(destination_id=added.id, manual_export=0)
    assert {(run.data_type, run.hour): run.state for run in runs} == {
        ("events", books.today): "retrying",
        ("events", books.today.plus(1)): "conflict",
        ("merged-ids", books.today): "conflict",
    }


def test_one_that_does_not_overwrite_makes_none_due(books: Books, exports: ManualExports) -> None:
    books.seal(books.today)
    added = in_conflict(books)
    start(exports, books, added, 0, 1)
    books.deliver(held(books))
    assert of(books, added) == ["conflict"]


def test_those_of_who_is_paused_wait_for_their_going_on(
    books: Books, exports: ManualExports
) -> None:
    books.seal(books.today)
    paused = in_conflict(books)
    books.destinations.pause(paused.id)
    one = books.active()
    books.deliver(books.held())
    halted = start(exports, books, one, 0, 1)
    books.ledger.conflict(held(books), TAKEN, "k#1")
    exports.pause(halted.id)

    overwrite(books, exports, one)

    assert (books.claim(), claim(books)) == (None, None)
    exports.resume(halted.id)
    books.deliver(held(books))
    assert set(states(books, halted).values()) == {"success"}
    seen = msgspec.structs.replace(paused, state="paused")
    books.destinations.resume(seen, books.capabilities)
    books.deliver(books.held())
    assert of(books, paused) == ["success"]


def test_one_of_a_cancelled_export_is_cancelled(books: Books, exports: ManualExports) -> None:
    books.seal(books.today)
    one = books.active()
    books.deliver(books.held())
    given_up = start(exports, books, one, 0, 1)
    taken = held(books)
    exports.cancel(given_up.id)
    books.ledger.conflict(taken, TAKEN, "k#1")
    export = start(exports, books, one, 0, 1, overwrite=True)
    books.deliver(held(books))
    assert exports.get(export.id).state == "finished"

    left = held(books)

    assert (left.manual_export, left.cancelled) == (given_up.id, True)
    books.ledger.cancelled(left)
    assert set(states(books, given_up).values()) == {"cancelled"}
