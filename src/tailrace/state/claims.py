"""Take a run to work on it: automatic ones first, the newest hour of the most idle destination.

A run is held under a lease with a number that grows; what becomes of it is in `deliveries`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.state.book import Book
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.delivery import (
    AUTOMATIC,
    TRIES_MAX,
    Cause,
    Delivery,
    Try,
    TryOutcome,
    states_before,
)
from tailrace.state.rows import delivery_of, text_of
from tailrace.state.sharing import sharing
from tailrace.state.tables import delivery, destination, manual_export

# Where claims run side by side, each passes over what another is just taking; one that finds all
# of these taken comes back a moment later.
CANDIDATES_MAX = 16

# A cancelled export's runs are taken only where something is left in the bucket to be cleaned up.
_CLAIMED_OF = ("running", "cancelled")


class Claims(Book):
    """The queue's front. All times handed in are the machine's, in microseconds."""

    def claim(
        self,
        *,
        now_micros: int,
        lease_micros: int,
        destination_limit: int,
        passing_over: Collection[int] = (),
    ) -> Delivery | None:
        """Take an automatic run, or return None if none may be taken now.

        None is taken of the destinations in `passing_over`. Of the others the one with the fewest
        runs in work comes first, so that a slow bucket delays no other; then the newest hour. A run
        whose holder's lease ran out may be taken again.
        """
        statement = _destinations(now_micros, destination_limit, passing_over)
        return self._claim(statement, now_micros, lease_micros)

    def claim_manual(
        self,
        *,
        now_micros: int,
        lease_micros: int,
        destination_limit: int,
        manual_limit: int,
        passing_over: Collection[int] = (),
    ) -> Delivery | None:
        """Take a run of a manual export; call it only when no automatic one may be taken.

        `destination_limit` counts automatic runs as well; of manual ones a destination has at most
        `manual_limit` in work, so that an hour that is sealed meanwhile finds room. The oldest
        export of a destination goes first, from its newest hour back.
        """
        statement = _exports(now_micros, destination_limit, manual_limit, passing_over)
        return self._claim(statement, now_micros, lease_micros)

    def release_leases(self) -> int:
        """Let every run in work be taken at once; return how many.

        Only for an exporter that knows itself to be the only one, at its start: whoever held them
        is gone. Should one still live, its lease's number no longer counts once a run is taken.
        """
        with writing(self.engine) as connection:
            statement = delivery.update().where(delivery.c.state == "running")
            return connection.execute(statement.values(due_micros=0)).rowcount

    def _claim(
        self, statement: sa.Select[tuple[int]], now_micros: int, lease_micros: int
    ) -> Delivery | None:
        with reading(self.engine) as connection:
            if connection.execute(statement).first() is None:
                return None
        with writing(self.engine) as connection:
            for asked in connection.execute(statement).all():
                found = _find(connection, asked.destination_id, asked.export_id, now_micros)
                if found is not None:
                    started = self.clock.now_micros()
                    return _take(connection, found, started, now_micros + lease_micros)
        return None


def of_run(held: Delivery) -> sa.ColumnElement[bool]:
    """Return the condition that names a run's row."""
    return sa.and_(
        delivery.c.destination_id == held.destination_id,
        delivery.c.data_type == held.data_type,
        delivery.c.hour == held.hour.number,
        delivery.c.manual_export == held.manual_export,
    )


def tries_with(
    held: Delivery, ended_micros: int | None, outcome: TryOutcome, cause: Cause | None
) -> tuple[Try, ...]:
    """Return a run's tries with the present one, the oldest left out if there are too many."""
    one = Try(held.started_micros, ended_micros, outcome, cause)
    return (*held.tries, one)[-TRIES_MAX:]


def on_hold(now_micros: int) -> sa.ColumnElement[bool]:
    """Return whether a destination's runs are to be let alone, because a person changes it."""
    return sa.func.coalesce(destination.c.held_until_micros, 0) > now_micros


def _destinations(
    now_micros: int, destination_limit: int, passing_over: Collection[int]
) -> sa.Select[tuple[int]]:
    """Select the destinations with an automatic run to take, in the order in which to ask them."""
    newest = (
        sa.select(delivery.c.hour)
        .where(
            delivery.c.destination_id == destination.c.id,
            delivery.c.manual_export == AUTOMATIC,
            delivery.c.due_micros <= now_micros,
        )
        .order_by(delivery.c.hour.desc())
        .limit(1)
        .scalar_subquery()
    )
    asked = (
        sa.select(destination.c.id, newest.label("newest"), _in_work(now_micros).label("in_work"))
        .where(
            destination.c.state == "active",
            destination.c.outage_since_micros.is_(None),
            ~on_hold(now_micros),
            destination.c.id.not_in(passing_over),
        )
        .subquery()
    )
    return (
        sa.select(asked.c.id.label("destination_id"), sa.literal(AUTOMATIC).label("export_id"))
        .where(asked.c.newest.is_not(None), asked.c.in_work < destination_limit)
        .order_by(asked.c.in_work, asked.c.newest.desc(), asked.c.id)
        .limit(CANDIDATES_MAX)
    )


def _exports(
    now_micros: int, destination_limit: int, manual_limit: int, passing_over: Collection[int]
) -> sa.Select[tuple[int]]:
    """Select the manual exports with a run to take, in the order in which to ask them.

    A destination whose automatic exports are switched off is exported to by hand all the same.
    """
    due = sa.exists().where(
        delivery.c.destination_id == destination.c.id,
        delivery.c.manual_export == manual_export.c.id,
        delivery.c.due_micros <= now_micros,
    )
    asked = (
        sa.select(
            destination.c.id,
            manual_export.c.id.label("export_id"),
            _in_work(now_micros).label("in_work"),
            _in_work(now_micros, delivery.c.manual_export > AUTOMATIC).label("manual"),
        )
        .join(destination, destination.c.id == manual_export.c.destination_id)
        .where(
            manual_export.c.state.in_(_CLAIMED_OF),
            destination.c.state.in_(("active", "paused")),
            destination.c.outage_since_micros.is_(None),
            ~on_hold(now_micros),
            destination.c.id.not_in(passing_over),
            due,
        )
        .subquery()
    )
    return (
        sa.select(asked.c.id.label("destination_id"), asked.c.export_id)
        .where(asked.c.in_work < destination_limit, asked.c.manual < manual_limit)
        .order_by(asked.c.in_work, asked.c.export_id)
        .limit(CANDIDATES_MAX)
    )


def _in_work(now_micros: int, *only: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .where(
            delivery.c.state == "running",
            delivery.c.destination_id == destination.c.id,
            delivery.c.due_micros > now_micros,
            *only,
        )
        .correlate(destination)
        .scalar_subquery()
    )


def _find(
    connection: Connection, destination_id: int, export_id: int, now_micros: int
) -> sa.Row[Any] | None:
    """Return the row of the run to take, with the newest hour, and what its export says of it."""
    statement = (
        sa.select(delivery, manual_export.c.overwrite, manual_export.c.state.label("export_state"))
        .outerjoin(manual_export, manual_export.c.id == delivery.c.manual_export)
        .where(
            delivery.c.destination_id == destination_id,
            delivery.c.manual_export == export_id,
            delivery.c.due_micros <= now_micros,
            delivery.c.state.in_(states_before("running")),
        )
        .order_by(delivery.c.hour.desc(), delivery.c.data_type.desc())
        .limit(1)
    )
    overwriting = _overwriting(connection, destination_id)
    if overwriting:
        # What is in work is looked at, so that no claim may run beside this one.
        one_change_at_a_time(connection)
        statement = statement.where(~_same_keys_in_work(overwriting, export_id, now_micros))
    # Only PostgreSQL runs claims side by side: there the row of one's own is locked at once, and
    # a row that another claim is just taking is passed over. SQLite leaves the words out.
    locking = statement.with_for_update(skip_locked=True, of=delivery)
    return connection.execute(locking).one_or_none()


def _overwriting(connection: Connection, destination_id: int) -> dict[int, set[int]]:
    """Return the manual exports that overwrite below the destination's keys, by destination.

    Empty, as nearly always, if there are none.
    """
    rows = connection.execute(
        sa.select(manual_export.c.destination_id, manual_export.c.id).where(
            manual_export.c.overwrite, manual_export.c.state != "finished"
        )
    ).all()
    if not rows:
        return {}
    found: dict[int, set[int]] = {of: set() for of in sharing(connection, destination_id)}
    for row in rows:
        if row.destination_id in found:
            found[row.destination_id].add(row.id)
    return found if any(found.values()) else {}


def _same_keys_in_work(
    overwriting: dict[int, set[int]], export_id: int, now_micros: int
) -> sa.Exists:
    """Whether another run is at the same objects, and one of the two overwrites.

    This is the lock of a store's bucket, prefix, scope and hour: who replaces an object is alone
    with it.
    """
    exports = set().union(*overwriting.values())
    other = delivery.alias()
    conditions = [
        other.c.scope == delivery.c.scope,
        other.c.hour == delivery.c.hour,
        other.c.state == "running",
        other.c.due_micros > now_micros,
        other.c.destination_id.in_(overwriting),
        sa.or_(
            other.c.destination_id != delivery.c.destination_id,
            other.c.manual_export != delivery.c.manual_export,
        ),
    ]
    if export_id not in exports:
        conditions.append(other.c.manual_export.in_(exports))
    return sa.exists().where(*conditions)


def _take(
    connection: Connection, row: sa.Row[Any], started_micros: int, until_micros: int
) -> Delivery:
    found = delivery_of(row)
    tries = found.tries
    if row.state == "running":
        # Whoever held it died or hangs.
        lost = msgspec.structs.replace(found, started_micros=row.started_micros or 0)
        tries = tries_with(lost, None, "lost", None)
    taken = msgspec.structs.replace(
        found,
        lease=found.lease + 1,
        attempts=found.attempts + 1,
        overwrite=bool(row.overwrite),
        cancelled=row.export_state == "cancelled",
        started_micros=started_micros,
        tries=tries,
    )
    connection.execute(
        delivery.update()
        .where(of_run(found), delivery.c.lease == found.lease)
        .values(
            state="running",
            lease=taken.lease,
            attempts=taken.attempts,
            due_micros=until_micros,
            started_micros=started_micros,
            tries=text_of(tries) if tries else None,
        )
    )
    return taken
