"""A person has what waits because of one cause tried at once; no run is tried twice for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tailrace.errors import BadRequest
from tailrace.state.audit import entries
from tailrace.state.delivery import Cause
from tailrace.state.destinations import Destinations
from tests.state.by_hand import claim, held, old, start
from tests.state.conftest import LEASE_MICROS

if TYPE_CHECKING:
    from tailrace.state.manual_exports import ManualExports
    from tests.state.conftest import Books

LATER = 10**15
SKEWED = Cause(kind="operator", code="RequestTimeTooSkewed", sentence="Skewed.", fix="Set it.")


def is_busy(cause: Cause) -> bool:
    return cause.code == "SlowDown"


def anything(_: Cause) -> bool:
    return True


def test_what_met_the_cause_is_due_at_once_and_nothing_else(books: Books) -> None:
    to = books.active()
    books.seal(books.today, books.today.plus(1), books.today.plus(2))
    first, second, third = books.held(), books.held(), books.held()
    books.ledger.retry(first, books.busy, LATER)
    # Of another object and another request, and still the same cause.
    again = msgspec.structs.replace(books.busy, key="raw/other", request_id="REQ8")
    books.ledger.retry(second, again, LATER)
    books.ledger.retry(third, SKEWED, LATER)
    assert books.claim() is None

    assert books.destinations.try_now(to.id, is_busy, title="S3 is busy") == 2

    assert {books.held().hour, books.held().hour} == {first.hour, second.hour}
    assert books.claim() is None
    who, what, detail = next(
        (one.who, one.what, one.detail)
        for one in entries(books.engine)
        if one.what == "tried again"
    )
    assert (who, what, detail) == ("test", "tried again", {"cause": "S3 is busy", "runs": 2})


def test_what_waits_for_a_person_goes_out_as_well(books: Books) -> None:
    to = books.active()
    books.seal(books.today, books.today.plus(1))
    dropped, other = books.held(), books.held()
    books.ledger.failed(dropped, SKEWED)
    books.ledger.conflict(other, books.busy, "raw/x")
    assert books.destinations.try_now(to.id, anything, title="x") == 2
    assert {books.held().hour, books.held().hour} == {dropped.hour, other.hour}


def test_a_run_in_work_is_not_given_to_a_second_holder(books: Books) -> None:
    to = books.active()
    books.seal(books.today)
    books.ledger.retry(books.held(), books.busy, 5)
    working = books.held(5)
    assert books.destinations.try_now(to.id, anything, title="x") == 0
    assert books.claim(5) is None
    # Its holder still writes.
    books.deliver(working)


def test_asked_twice_is_tried_once_and_told_once(books: Books) -> None:
    to = books.active()
    books.seal(books.today)
    books.ledger.retry(books.held(), books.busy, LATER)
    assert books.destinations.try_now(to.id, anything, title="x") == 1
    assert books.destinations.try_now(to.id, anything, title="x") == 0
    assert books.held().hour == books.today
    assert books.claim() is None
    assert [one.what for one in entries(books.engine)].count("tried again") == 1


def test_no_count_of_tries_is_lost(books: Books) -> None:
    to = books.active()
    books.seal(books.today)
    for number in range(1, 5):
        taken = books.held()
        assert taken.attempts == number
        assert len(taken.tries) == number - 1
        books.ledger.retry(taken, books.busy, LATER)
        books.destinations.try_now(to.id, anything, title="x")


def test_only_what_is_gone_on_with_is_tried(books: Books, exports: ManualExports) -> None:
    to = books.active()
    old(books, -48, -47)
    paused, running = start(exports, books, to, -48, -47), start(exports, books, to, -47, -46)
    books.seal(books.today)
    books.ledger.retry(books.held(), books.busy, LATER)
    for _ in range(2):
        books.ledger.retry(held(books), books.busy, LATER)
    exports.pause(paused.id)
    books.destinations.pause(to.id)

    assert books.destinations.try_now(to.id, anything, title="x") == 1

    assert held(books).manual_export == running.id
    exports.resume(paused.id)
    assert claim(books) is None


def test_nothing_is_tried_while_access_is_refused(books: Books) -> None:
    to = books.active()
    books.seal(books.today, books.today.plus(1))
    books.ledger.retry(books.held(), books.busy, LATER)
    books.ledger.failed(books.held(), books.refused, next_probe_micros=LATER)
    with pytest.raises(BadRequest, match="its access is refused"):
        books.destinations.try_now(to.id, anything, title="x")


def test_it_is_the_destinations_own_runs_that_are_tried(books: Books) -> None:
    one, other = books.active(bucket="one"), books.active(bucket="other")
    books.seal(books.today)
    for _ in range(2):
        books.ledger.retry(books.held(), books.busy, LATER)
    assert books.destinations.try_now(one.id, anything, title="x") == 1
    assert books.held().destination_id == one.id
    assert books.claim(LEASE_MICROS - 1) is None
    strange = Destinations(books.engine, books.clock, within=books.add_organization("Globex"))
    with pytest.raises(BadRequest, match=f"There is no destination {other.id}"):
        strange.try_now(other.id, anything, title="x")
