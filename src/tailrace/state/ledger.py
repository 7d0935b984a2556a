"""`Ledger`: the one book of what is sealed, what is owed, and what was delivered.

The ledger is the queue: `seal` hands over, `export` claims, and pages read, the same rows.
"""

from __future__ import annotations

from sqlalchemy.engine import Engine

from tailrace.clock import Clock
from tailrace.state.claims import Claims
from tailrace.state.deliveries import Deliveries
from tailrace.state.handover import HandOver
from tailrace.state.keeping import Keeping
from tailrace.state.ledger_view import LedgerView
from tailrace.state.outages import Outages


class Ledger(HandOver, Claims, Deliveries, Outages, Keeping, LedgerView):
    """All parts of the ledger over one database.

    Safe to use from several threads and processes at once: each call is one transaction, and what
    it wrote is durable when it returns. It is the service's, and sees all organizations; people
    read a `LedgerView`.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        super().__init__(engine, clock)
