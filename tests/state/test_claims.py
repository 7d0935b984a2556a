"""Claims are fair between destinations, newest first within one, and cheap with a long ledger."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tailrace.hours import Hour
from tailrace.state.database import writing
from tailrace.state.delivery import Delivery
from tailrace.state.derive import derive
from tailrace.state.tables import delivery, sealed_hour

if TYPE_CHECKING:
    from tests.state.conftest import Books

# Runs that lie in the ledger from long ago.
HOURS = 100_000


def test_the_newest_hour_goes_first(books: Books) -> None:
    books.active()
    books.seal(*(books.today.plus(n) for n in (3, 1, 2)))
    hours = [books.held().hour for _ in range(3)]
    assert hours == [books.today.plus(n) for n in (3, 2, 1)]


def test_events_and_merged_ids_of_an_hour_are_two_runs(books: Books) -> None:
    books.active(merged=True)
    books.seal(books.today)
    books.seal(books.today, scope=-books.organization)
    assert {books.held().data_type for _ in range(2)} == {"events", "merged-ids"}
    assert books.claim() is None


def test_a_destination_has_no_more_runs_in_work_than_its_limit(books: Books) -> None:
    first, second = books.active(bucket="one"), books.active(bucket="two")
    books.seal(*(books.today.plus(n) for n in range(5)))
    taken = []
    while (held := books.claim(limit=2)) is not None:
        taken.append(held.destination_id)
    assert sorted(taken) == [first.id, first.id, second.id, second.id]


def test_the_destination_with_the_fewest_runs_in_work_goes_first(books: Books) -> None:
    slow, quick = books.active(bucket="slow"), books.active(bucket="quick")
    books.destinations.set_interval(slow.id, books.today.plus(5), None)
    books.destinations.set_interval(quick.id, books.today, books.today.plus(5))
    books.seal(*(books.today.plus(n) for n in range(9)))
    # The slow bucket keeps the newest hours; the quick one is asked in turn all the same.
    assert books.held().destination_id == slow.id
    quick_held = books.held()
    assert quick_held.destination_id == quick.id
    books.deliver(quick_held)
    assert books.held().destination_id == quick.id


def test_a_destination_whose_holders_died_does_not_use_up_its_limit(books: Books) -> None:
    books.active()
    books.seal(books.today, books.today.next())
    assert books.claim(0, limit=1) is not None
    assert books.claim(1, limit=1) is None
    assert books.claim(60_000_000, limit=1) is not None


def test_paused_destinations_are_not_asked(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    books.destinations.pause(added.id)
    assert books.claim() is None
    assert set(books.states().values()) == {"pending"}
    books.destinations.activate(added.id, books.capabilities)
    assert books.claim() is not None


def test_threads_that_claim_at_once_share_the_runs(books: Books) -> None:
    books.active(bucket="one")
    books.active(bucket="two")
    books.seal(*(books.today.plus(n) for n in range(60)), files=0)
    delivered: list[Delivery] = []

    def work() -> None:
        while (held := books.claim()) is not None:
            delivered.append(held)
            books.ledger.succeeded(held, 1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(delivered) == len({(d.destination_id, d.hour) for d in delivered}) == 120
    assert {held.lease for held in delivered} == {1}


def fill(books: Books, count: int) -> None:
    """Seal `count` empty hours of the project at once, long before today, and derive."""
    rows = [
        {
            "scope": books.project,
            "hour": books.today.number - count + n,
            "organization": books.organization,
            "record": b"",
            "digest": "",
            "files": 0,
            "handed_over_micros": 0,
        }
        for n in range(count)
    ]
    with writing(books.engine) as connection:
        connection.execute(sealed_hour.insert(), rows)
        derive(connection, now_micros=0)


@pytest.mark.slow  # a hundred thousand runs take a moment to make
@pytest.mark.parametrize(("state", "analyzed"), [("pending", False), ("success", True)])
def test_with_a_long_ledger_no_statement_of_the_day_reads_it_through(
    books: Books, statements: list[tuple[str, object]], analyzed: bool, state: str
) -> None:
    added = books.active()
    books.destinations.set_interval(added.id, Hour(0), None)
    fill(books, HOURS)
    with writing(books.engine) as connection:
        if state == "success":
            settled = {"state": "success", "due_micros": None, "finished_micros": 1}
            connection.execute(sa.update(delivery).values(**settled))
        if analyzed:
            connection.exec_driver_sql("ANALYZE")
    statements.clear()
    books.ledger.add_files([books.file(books.today)], books.organization)
    held = books.held()
    books.put_all(held)
    books.ledger.waiting(held)
    books.seal(books.today)
    books.deliver(books.held())
    plan = [plan_line for text, values in statements for plan_line in books.plan(text, values)]
    assert any("delivery_to_claim" in line for line in plan)
    assert [line for line in plan if _reads_through(line)] == []


def _reads_through(line: str) -> bool:
    """Tell whether a step of a plan visits rows in proportion to the ledger's length."""
    if line.startswith(("SCAN delivery", "SCAN sealed")):
        return True
    # All rows of a state, over all destinations.
    return "delivery_by_state (state=?)" in line
