"""Destinations whose store only ever fails for a while, and whether anything reached them since."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.hours import Hour
from tailrace.state.delivery import Cause, Destination
from tailrace.state.outages import is_tried
from tailrace.state.rows import cause_of, destination_of
from tailrace.state.tables import delivery, destination, manual_export

# Runs of a destination that are looked at for a passing cause: in a store that is away, each has.
_RUNS_MAX = 100

# What is tried again for ever, and told to nobody when it is met. An unknown answer may pass, too.
_PASSING = ("temporary", "unknown")

# The newest hours go first, so that these are the first to come through.
_HOURS_BACK = 48


def without_outage(connection: Connection) -> list[Destination]:
    """Return the destinations that something goes to, as far as nobody has refused it."""
    statement = (
        sa.select(destination)
        .where(is_tried(), destination.c.outage_since_micros.is_(None))
        .order_by(destination.c.id)
    )
    return [destination_of(row) for row in connection.execute(statement)]


def passing_cause(connection: Connection, destination_id: int, attempts_min: int) -> Cause | None:
    """Return the cause of a run that waits for a store to be well again, tried so often."""
    statement = (
        sa.select(delivery.c.cause)
        .where(
            delivery.c.state.in_(("retrying", "running")),
            delivery.c.destination_id == destination_id,
            delivery.c.attempts >= attempts_min,
            delivery.c.cause.is_not(None),
        )
        .order_by(delivery.c.due_micros.desc())
        .limit(_RUNS_MAX)
    )
    causes = (cause_of(text) for text in connection.execute(statement).scalars())
    return next((one for one in causes if one is not None and one.kind in _PASSING), None)


def delivered_since(connection: Connection, destination_id: int, since_micros: int) -> bool:
    """Return whether a run of the newest hours, or of a manual export, succeeded after a moment."""
    since = Hour.of_micros(since_micros).number - _HOURS_BACK
    succeeded = (delivery.c.state == "success", delivery.c.finished_micros > since_micros)
    hourly = sa.exists().where(
        delivery.c.destination_id == destination_id,
        delivery.c.data_type.in_(("events", "merged-ids")),
        delivery.c.hour >= since,
        *succeeded,
    )
    exports = sa.select(manual_export.c.id).where(manual_export.c.destination_id == destination_id)
    # Written out, so that the index of these rows alone is known to hold them.
    is_by_hand = delivery.c.manual_export > sa.literal_column("0", sa.BigInteger)
    by_hand = sa.exists().where(delivery.c.manual_export.in_(exports), is_by_hand, *succeeded)
    return bool(connection.execute(sa.select(sa.or_(hourly, by_hand))).scalar_one())
