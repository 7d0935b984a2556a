"""Faults of the operator's are found by their codes, whatever else is being retried."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tailrace.hours import Hour
from tailrace.state import faults as module
from tailrace.state.database import reading, writing
from tailrace.state.delivery import Cause
from tailrace.state.faults import Fault, faults
from tailrace.state.tables import delivery
from tests.state.conftest import Books


def damaged(hour: Hour) -> Cause:
    return Cause("operator", "BadDigest", f"The file of {hour} arrives damaged.", "Restore it.")


def found(books: Books) -> list[Fault]:
    with reading(books.engine) as connection:
        return faults(connection, 1)


def meet(books: Books, *hours: Hour) -> None:
    """Seal hours, whose runs meet a fault."""
    for hour in hours:
        books.seal(hour)
        while (held := books.claim()) is not None:
            books.ledger.retry(held, damaged(held.hour), 9)


def test_the_fault_of_the_newest_hour_is_told_for_each_destination(books: Books) -> None:
    first, second = (books.active(bucket=name).id for name in ("one", "two"))
    meet(books, books.today, books.today.plus(2), books.today.next())
    newest = damaged(books.today.plus(2))
    assert found(books) == [Fault(first, newest), Fault(second, newest)]


def test_a_fault_is_over_once_its_runs_have_another_cause_or_none(books: Books) -> None:
    books.active()
    meet(books, books.today, books.today.next())
    books.ledger.retry(books.held(9), books.busy, 20)
    assert [fault.cause for fault in found(books)] == [damaged(books.today)]
    books.deliver(books.held(9))
    assert found(books) == []


def test_nobody_is_told_of_what_is_paused(books: Books) -> None:
    paused, other = (books.active(bucket=name).id for name in ("one", "two"))
    meet(books, books.today)
    books.destinations.pause(paused)
    assert [fault.destination_id for fault in found(books)] == [other]


def test_one_code_at_many_destinations_hides_no_other(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DESTINATIONS_MAX", 2)
    numbers = [books.active(bucket=name).id for name in ("one", "two", "three", "four")]
    clock = Cause("operator", "RequestTimeTooSkewed", "The clock is wrong.", "Set it.")
    books.seal(books.today)
    for _ in numbers:
        held = books.held()
        last = held.destination_id == numbers[-1]
        books.ledger.retry(held, clock if last else damaged(held.hour), 9)
    assert [(fault.destination_id, fault.cause.code) for fault in found(books)] == [
        (numbers[0], "BadDigest"),
        (numbers[1], "BadDigest"),
        (numbers[3], "RequestTimeTooSkewed"),
    ]


@pytest.mark.parametrize("analyzed", [False, True])
def test_faults_are_found_without_reading_what_else_waits(
    books: Books, statements: list[tuple[str, Any]], analyzed: bool
) -> None:
    books.active()
    books.seal(*(books.today.plus(n) for n in range(100)))
    with writing(books.engine) as connection:
        connection.execute(sa.update(delivery).values(state="retrying", attempts=9))
        if analyzed:
            connection.exec_driver_sql("ANALYZE")
    statements.clear()
    assert found(books) == []
    plan = [
        line
        for text, values in statements
        if "delivery" in text
        for line in books.plan(text, values)
        if "delivery" in line
    ]
    assert plan
    assert [line for line in plan if "delivery_faulty" not in line] == []
