"""`Book`: what each part of the ledger is made with."""

from __future__ import annotations

from sqlalchemy.engine import Engine

from tailrace.clock import Clock


class Book:
    """The database, and the service's clock for the times that people read.

    Leases, tries and probes follow the machine's time, which callers hand in.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
