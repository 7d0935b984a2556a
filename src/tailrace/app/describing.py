"""All that is known of one destination, for `destination show` and its page."""

from __future__ import annotations

import msgspec
from sqlalchemy.engine import Engine

from tailrace.app.switching import MissedRange, joined
from tailrace.clock import Clock
from tailrace.state.audit import oldest_by
from tailrace.state.delivery import Destination, RunState
from tailrace.state.destinations import Destinations
from tailrace.state.drafts import AccessKind, access_of
from tailrace.state.editing import Place
from tailrace.state.ledger_view import LedgerView


class Described(msgspec.Struct, frozen=True):
    """A destination with its runs; `runs` counts automatic and manual ones, `owed` automatic."""

    destination: Destination
    access: AccessKind
    created_by: str
    runs: dict[RunState, int]
    owed: int
    missed: tuple[MissedRange, ...]
    earlier_places: tuple[Place, ...]


def describe(
    engine: Engine, clock: Clock, destination_id: int, *, within: int | None = None
) -> Described:
    """Gather what is known; raise `BadRequest` for a number that there is not.

    `within` is the organization whose person asks; None is the operator.
    """
    destinations = Destinations(engine, clock, within=within)
    found = destinations.get(destination_id)
    counts = LedgerView(engine, clock, within=within).run_counts()
    return Described(
        destination=found,
        access=access_of(found),
        created_by=oldest_by(engine, f"destination {destination_id}") or "-",
        runs={one.state: one.runs for one in counts if one.destination_id == destination_id},
        owed=destinations.owed_runs(destination_id),
        missed=joined(destinations.missed(destination_id)),
        earlier_places=tuple(destinations.earlier_places(destination_id)),
    )
