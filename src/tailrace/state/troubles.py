"""What is known of a destination's outages, and when it last worked, read in one moment."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.state.database import reading
from tailrace.state.outage_history import Outage, outage_of
from tailrace.state.owed import Owed, owed
from tailrace.state.tables import delivery, outage

# The outages that a page may lead to; older ones stay in the table.
OUTAGES_MAX = 20


class Troubles(msgspec.Struct, frozen=True):
    """Outages, the newest first; `last_success_micros` is the service's time, None for never."""

    outages: tuple[Outage, ...]
    last_success_micros: int | None
    owed: Owed


def troubles(engine: Engine, destination_id: int) -> Troubles:
    """Return what is known of a destination's outages, and what waits for it."""
    newest = (
        sa.select(outage)
        .where(outage.c.destination_id == destination_id)
        .order_by(outage.c.id.desc())
        .limit(OUTAGES_MAX)
    )
    success = sa.select(sa.func.max(delivery.c.finished_micros)).where(
        delivery.c.state == "success", delivery.c.destination_id == destination_id
    )
    with reading(engine) as connection:
        return Troubles(
            outages=tuple(outage_of(row) for row in connection.execute(newest)),
            last_success_micros=connection.execute(success).scalar_one(),
            owed=owed(connection, destination_id),
        )
