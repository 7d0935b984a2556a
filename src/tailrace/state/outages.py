"""A destination whose access is refused: one probe decides for all its hours.

While an outage lasts no run of the destination may be taken; hours sealed meanwhile wait.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.state import outage_history
from tailrace.state.book import Book
from tailrace.state.database import reading, writing
from tailrace.state.delivery import Cause
from tailrace.state.rows import UNTRIED, text_of
from tailrace.state.tables import delivery, destination, manual_export

# New outages that are looked into one after the other; more than that wait for the next turn.
LOOKS_MAX = 16


class Outages(Book):
    """Begin, probe and end outages. Probe times are the machine's, in microseconds."""

    def begin_outage(self, destination_id: int, cause: Cause, next_probe_micros: int) -> bool:
        """Stop all tries of a destination; return False if they were stopped already."""
        with writing(self.engine) as connection:
            since = self.clock.now_micros()
            return note_outage(connection, destination_id, cause, since, next_probe_micros)

    def probe_due(self, now_micros: int) -> list[int]:
        """Return the destinations whose access is to be probed now, longest due first.

        One that is paused is probed while a manual export waits for it.
        """
        statement = (
            sa.select(destination.c.id)
            .where(
                is_tried(),
                destination.c.outage_since_micros.is_not(None),
                destination.c.next_probe_micros <= now_micros,
            )
            .order_by(destination.c.next_probe_micros, destination.c.id)
        )
        with reading(self.engine) as connection:
            return list(connection.execute(statement).scalars())

    def probe_failed(self, destination_id: int, cause: Cause, next_probe_micros: int) -> None:
        """Go on with the outage, under the newest cause."""
        with writing(self.engine) as connection:
            connection.execute(
                destination.update()
                .where(_refused(destination_id))
                .values(outage_cause=text_of(cause), next_probe_micros=next_probe_micros)
            )
            outage_history.go_on(connection, destination_id, cause)

    def to_look_into(self) -> list[int]:
        """Return the destinations of new outages, of which all that is missing is to be found.

        At most `LOOKS_MAX`, the oldest first.
        """
        with reading(self.engine) as connection:
            return outage_history.not_probed(connection, LOOKS_MAX)

    def looked_into(self, destination_id: int, cause: Cause) -> None:
        """Keep what was found of a new outage; its next probe stays when it is."""
        with writing(self.engine) as connection:
            connection.execute(
                destination.update()
                .where(_refused(destination_id))
                .values(outage_cause=text_of(cause))
            )
            outage_history.go_on(connection, destination_id, cause)

    def wake_beyond(self, latest_micros: int) -> int:
        """Make due what waits for a later moment than any schedule sets; return how much that is.

        Such a time was set by a clock that has gone back since. A run that is still held is taken
        over with a new lease, so that its holder writes no more.
        """
        runs = delivery.c.due_micros > latest_micros
        probes = destination.c.next_probe_micros > latest_micros
        holds = destination.c.held_until_micros > latest_micros
        with reading(self.engine) as connection:
            beyond = sa.exists().where(runs), sa.exists().where(probes), sa.exists().where(holds)
            if not any(connection.execute(sa.select(*beyond)).one()):
                return 0
        with writing(self.engine) as connection:
            woken = connection.execute(delivery.update().where(runs).values(due_micros=0))
            probed = connection.execute(
                destination.update().where(probes).values(next_probe_micros=0)
            )
            freed = connection.execute(
                destination.update().where(holds).values(held_until_micros=None)
            )
            return woken.rowcount + probed.rowcount + freed.rowcount

    def end_outage(self, destination_id: int) -> bool:
        """Make every owed hour due at once; return False if there was no outage."""
        with writing(self.engine) as connection:
            return clear_outage(connection, destination_id, self.clock.now_micros())


def is_tried() -> sa.ColumnElement[bool]:
    """Return whether anything goes to a destination: of one that is paused only by hand."""
    by_hand = sa.exists().where(
        manual_export.c.destination_id == destination.c.id, manual_export.c.state == "running"
    )
    return sa.or_(
        destination.c.state == "active", sa.and_(destination.c.state == "paused", by_hand)
    )


def note_outage(
    connection: Connection,
    destination_id: int,
    cause: Cause,
    since_micros: int,
    next_probe_micros: int,
) -> bool:
    """Begin an outage inside the caller's transaction; return False if one lasts already."""
    changed = connection.execute(
        destination.update()
        .where(destination.c.id == destination_id, destination.c.outage_since_micros.is_(None))
        .values(
            outage_since_micros=since_micros,
            outage_cause=text_of(cause),
            next_probe_micros=next_probe_micros,
        )
    )
    if changed.rowcount != 1:
        return False
    outage_history.begin(connection, destination_id, cause, since_micros)
    return True


def clear_outage(connection: Connection, destination_id: int, ended_micros: int) -> bool:
    """End an outage inside the caller's transaction; return False if there was none."""
    changed = connection.execute(
        destination.update()
        .where(_refused(destination_id))
        .values(outage_since_micros=None, outage_cause=None, next_probe_micros=None)
    )
    if changed.rowcount != 1:
        return False
    outage_history.end(connection, destination_id, ended_micros)
    # The schedule of tries begins anew: those made against a closed door say nothing now.
    connection.execute(
        delivery.update()
        .where(
            delivery.c.destination_id == destination_id,
            delivery.c.state.in_(("failed", "retrying")),
        )
        .values(state="retrying", due_micros=0, **UNTRIED)
    )
    return True


def send_troubled_again(connection: Connection, destination_id: int) -> None:
    """Make runs due that wait or met other content, in the caller's transaction, as a person asks.

    Should the other object still be there, it is left as it is and the run is in conflict again.
    """
    connection.execute(
        delivery.update()
        .where(
            delivery.c.destination_id == destination_id,
            delivery.c.state.in_(("conflict", "retrying")),
        )
        .values(state="retrying", due_micros=0, **UNTRIED)
    )


def _refused(destination_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        destination.c.id == destination_id, destination.c.outage_since_micros.is_not(None)
    )
