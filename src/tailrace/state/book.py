"""`Book` and `ReadingBook`: what each part of the ledger is made with."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.clock import Clock
from tailrace.state.tables import destination, project


class Book:
    """The database, and the service's clock for the times that people read.

    Leases, tries and probes follow the machine's time, which callers hand in.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock


class ReadingBook(Book):
    """What those parts of the ledger are made with that people read.

    `within` is the organization whose person reads; None is the operator, and the service itself.
    What another one has is to it as if it did not exist.
    """

    def __init__(self, engine: Engine, clock: Clock, *, within: int | None = None) -> None:
        super().__init__(engine, clock)
        self.within = within

    def _own_destination(self, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        if self.within is None:
            return sa.true()
        own = sa.select(destination.c.id).where(destination.c.organization == self.within)
        return column.in_(own)

    def _own_scope(self, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        if self.within is None:
            return sa.true()
        own = sa.select(project.c.id).where(project.c.organization == self.within)
        return sa.or_(column == -self.within, column.in_(own))
