"""What keeps runs back that only whoever runs tailrace can mend; read for the mails about it."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.state.delivery import Cause
from tailrace.state.outages import is_tried
from tailrace.state.rows import cause_of
from tailrace.state.tables import delivery, destination

# Of each code so many destinations are told of: a fault that more of them meet is the machine's
# own, and the same at each.
DESTINATIONS_MAX = 1000


class Fault(msgspec.Struct, frozen=True):
    """A fault of the operator's that keeps back what a destination is owed, as it was last met."""

    destination_id: int
    cause: Cause


def faults(connection: Connection, attempts_min: int) -> list[Fault]:
    """Return the faults that last, one for each code and destination.

    A run's counts once it was tried so often; that of the newest hour is told. In an outage
    nothing is tried but probes, which may meet a fault as well. Nobody is told of what is paused.
    """
    met = (*_of_runs(connection, attempts_min), *_of_probes(connection))
    found = {(fault.cause.code, fault.destination_id): fault for fault in reversed(met)}
    return [found[name] for name in sorted(found)]


def _of_runs(connection: Connection, attempts_min: int) -> list[Fault]:
    lasting = (
        delivery.c.fault_code.is_not(None),
        delivery.c.state == "retrying",
        delivery.c.attempts >= attempts_min,
    )
    newest = (
        sa.select(
            delivery.c.fault_code,
            delivery.c.destination_id,
            sa.func.max(delivery.c.hour).label("hour"),
            sa.func.row_number()
            .over(partition_by=delivery.c.fault_code, order_by=delivery.c.destination_id)
            .label("place"),
        )
        .join(destination, destination.c.id == delivery.c.destination_id)
        .where(is_tried(), *lasting)
        .group_by(delivery.c.fault_code, delivery.c.destination_id)
        .subquery()
    )
    statement = (
        sa.select(delivery.c.destination_id, delivery.c.cause)
        .join(
            newest,
            sa.and_(
                delivery.c.fault_code == newest.c.fault_code,
                delivery.c.destination_id == newest.c.destination_id,
                delivery.c.hour == newest.c.hour,
            ),
        )
        .where(newest.c.place <= DESTINATIONS_MAX, *lasting)
        .order_by(delivery.c.data_type, delivery.c.manual_export)
    )
    return _faults(connection, statement)


def _of_probes(connection: Connection) -> list[Fault]:
    statement = (
        sa.select(
            destination.c.id.label("destination_id"), destination.c.outage_cause.label("cause")
        )
        .where(is_tried(), destination.c.outage_since_micros.is_not(None))
        .order_by(destination.c.id)
    )
    met = _faults(connection, statement)
    return [fault for fault in met if fault.cause.kind == "operator"]


def _faults(connection: Connection, statement: sa.Select[tuple[int, str | None]]) -> list[Fault]:
    rows = connection.execute(statement)
    return [
        Fault(row.destination_id, cause)
        for row in rows
        if (cause := cause_of(row.cause)) is not None
    ]
