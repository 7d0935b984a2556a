"""Whether anything reached a destination is found without reading its history."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tailrace.state.database import reading, writing
from tailrace.state.stalls import delivered_since, passing_cause
from tailrace.state.tables import delivery
from tests.state.conftest import Books


@pytest.mark.parametrize("analyzed", [False, True])
def test_no_history_is_read(
    books: Books, statements: list[tuple[str, Any]], analyzed: bool
) -> None:
    destination = books.active()
    books.seal(*(books.today.plus(n) for n in range(300)))
    with writing(books.engine) as connection:
        values = {"state": "success", "due_micros": None, "finished_micros": 1}
        connection.execute(sa.update(delivery).values(**values))
        if analyzed:
            connection.exec_driver_sql("ANALYZE")
    statements.clear()
    with reading(books.engine) as connection:
        assert not delivered_since(connection, destination.id, books.clock.now_micros())
        assert passing_cause(connection, destination.id, 1) is None
    plan = [
        line.partition(" INDEX ")[2]
        for text, values in statements
        for line in books.plan(text, values)
        if "delivery" in line
    ]
    assert plan == [
        "sqlite_autoindex_delivery_1 (destination_id=? AND data_type=? AND hour>?)",
        "delivery_by_manual_export (manual_export=? AND state=? AND finished_micros>?)",
        "delivery_by_state (state=? AND destination_id=?)",
    ]
