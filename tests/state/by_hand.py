"""Manual exports as tests start them, claim their runs and look at these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tailrace.hours import Hour
from tailrace.state.delivery import Delivery, Destination, ManualExport
from tailrace.state.manual_exports import ManualExports, NewManualExport

if TYPE_CHECKING:
    from tests.state.conftest import Books

LATER = 60_000_000


def start(
    exports: ManualExports,
    books: Books,
    to: Destination,
    first: int = -48,
    until: int = -24,
    **changes: Any,
) -> ManualExport:
    new: dict[str, Any] = {
        "destination_id": to.id,
        "from_hour": books.today.plus(first),
        "until_hour": books.today.plus(until),
        "include_events": True,
        "include_merged_ids": False,
    }
    return exports.start(NewManualExport(**new | changes))


def claim(books: Books, now: int = 0, *, limit: int = 100, manual: int = 100) -> Delivery | None:
    return books.ledger.claim_manual(
        now_micros=now, lease_micros=LATER, destination_limit=limit, manual_limit=manual
    )


def held(books: Books, now: int = 0) -> Delivery:
    taken = claim(books, now)
    assert taken is not None
    return taken


def states(books: Books, export: ManualExport) -> dict[Hour, str]:
    return {run.hour: run.state for run in books.ledger.runs(manual_export=export.id)}


def old(books: Books, *numbers: int) -> list[Hour]:
    """Seal hours long before today, which no destination owes by itself."""
    hours = [books.today.plus(number) for number in sorted(numbers)]
    books.seal(*hours)
    return hours
