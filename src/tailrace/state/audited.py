"""`Audited`: rows that people change, each change one transaction with its entry in the trail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy.engine import Connection, Engine

from tailrace.clock import Clock
from tailrace.state.audit import SERVICE, note
from tailrace.state.database import one_change_at_a_time, writing


class Audited:
    """The database, the service's clock, and who acts: `by` stands in the audit trail.

    `within` is the organization whose person acts; None is the operator. What belongs to another
    one is to it as if it did not exist.
    """

    # What the trail calls one of them, before its number.
    KIND: ClassVar[str]

    def __init__(
        self, engine: Engine, clock: Clock, *, by: str = SERVICE, within: int | None = None
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.by = by
        self.within = within

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        with writing(self.engine) as connection:
            one_change_at_a_time(connection)
            yield connection

    def _note(self, connection: Connection, number: int, what: str, detail: dict[str, Any]) -> None:
        note(
            connection,
            at_micros=self.clock.now_micros(),
            who=self.by,
            what=what,
            changed=f"{self.KIND} {number}",
            detail=detail,
        )
