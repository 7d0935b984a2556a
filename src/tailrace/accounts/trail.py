"""A change of accounts in the making: its transaction, its time, and who makes it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy.engine import Connection

from tailrace.state.audit import note


class Trail(msgspec.Struct, frozen=True):
    """What a change notes of itself in the audit trail; `at_micros` is the service's time."""

    connection: Connection
    at_micros: int
    by: str

    def note(self, what: str, changed: str, detail: Mapping[str, object]) -> None:
        """Add an entry. Never put a secret into `detail`."""
        note(
            self.connection,
            at_micros=self.at_micros,
            who=self.by,
            what=what,
            changed=changed,
            detail=detail,
        )
