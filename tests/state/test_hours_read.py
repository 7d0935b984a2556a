"""What is known of each hour of a destination, in few queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.errors import BadRequest
from tailrace.state.hours_read import HOURS_MAX
from tailrace.state.ledger_view import LedgerView
from tests.state.by_hand import start

if TYPE_CHECKING:
    from tailrace.state.manual_exports import ManualExports
    from tests.state.conftest import Books


def test_every_hour_is_there_with_what_is_sealed_and_its_runs(
    books: Books, exports: ManualExports
) -> None:
    to = books.active(merged=True)
    first, second = books.today, books.today.next()
    books.seal(first, files=2)
    books.seal(first, second, scope=-books.organization)
    books.deliver(books.held())
    start(exports, books, to, 0, 1)
    view = LedgerView(books.engine, books.clock)

    before, one, two = view.hours_of(to.id, books.today.plus(-1), second.next())

    assert (before.sealed, before.files, before.lines, before.runs) == (False, 0, 0, ())
    assert (one.sealed, one.files, one.lines) == (True, 3, 20)
    assert one.size_bytes == 1001 + 1002 + 1001
    assert sorted((run.data_type, run.manual_export > 0) for run in one.runs) == [
        ("events", False),
        ("events", True),
        ("merged-ids", False),
    ]
    # Of the events, which are counted, nothing is sealed yet.
    assert (two.sealed, two.files, two.lines) == (False, 1, 0)
    assert [run.data_type for run in two.runs] == ["merged-ids"]


def test_a_destination_of_merged_ids_alone_counts_these(books: Books) -> None:
    added = books.setting_up(merged=True)
    books.destinations.edit(added, _replaced(added, include_events=False), None, now_micros=0)
    books.destinations.activate(added.id, books.capabilities)
    books.seal(books.today, scope=-books.organization)
    view = LedgerView(books.engine, books.clock)

    (one,) = view.hours_of(added.id, books.today, books.today.next())

    assert (one.sealed, one.lines) == (True, 10)


def test_few_queries_are_made_however_many_hours(
    books: Books, statements: list[tuple[str, Any]]
) -> None:
    to = books.active()
    books.seal(*(books.today.plus(number) for number in range(9)))
    view = LedgerView(books.engine, books.clock)
    before = len(statements)

    found = view.hours_of(to.id, books.today.plus(-9000), books.today.plus(24))

    assert len(found) == HOURS_MAX
    assert found[-1].hour == books.today.plus(23)
    assert len(statements) - before == 4


def test_there_are_no_hours_of_a_destination_that_there_is_not(books: Books) -> None:
    with pytest.raises(BadRequest, match="There is no destination 7"):
        LedgerView(books.engine, books.clock).hours_of(7, books.today, books.today.next())


def _replaced(found: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(found, **changes)
