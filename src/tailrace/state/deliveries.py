"""Take a run, and say what became of it: the ledger as a worker of `export` sees it.

A run is held under a lease with a number that grows. Every write says "where the lease is mine"
and raises `LeaseLost` when another holder has taken the run over.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace import killpoints
from tailrace.errors import Corrupt, LeaseLost
from tailrace.hours import Hour
from tailrace.state.book import Book
from tailrace.state.database import reading, writing
from tailrace.state.delivery import Cause, DataType, DeliveredHow, Delivery, RunState, states_before
from tailrace.state.handover import files_of
from tailrace.state.outages import note_outage
from tailrace.state.rows import delivery_of, text_of
from tailrace.state.sealed import SealedFile
from tailrace.state.tables import delivery, delivery_file, destination, sealed_hour

# Where claims run side by side, each passes over what another is just taking; one that finds all
# of these taken comes back a moment later.
CANDIDATES_MAX = 16


class Deliveries(Book):
    """The queue of runs. All times handed in are the machine's, in microseconds."""

    def claim(
        self,
        *,
        now_micros: int,
        lease_micros: int,
        destination_limit: int,
        passing_over: Collection[int] = (),
    ) -> Delivery | None:
        """Take one run, or return None if none may be taken now.

        None is taken of the destinations in `passing_over`. Of the others the one with the fewest
        runs in work comes first, so that a slow bucket delays no other; then the newest hour. A run
        whose holder's lease ran out may be taken again.
        """
        with reading(self.engine) as connection:
            if not _candidates(connection, now_micros, destination_limit, passing_over):
                return None
        with writing(self.engine) as connection:
            for destination_id in _candidates(
                connection, now_micros, destination_limit, passing_over
            ):
                taken = _take(connection, destination_id, now_micros, lease_micros)
                if taken is not None:
                    return taken
        return None

    def release_leases(self) -> int:
        """Let every run in work be taken at once; return how many.

        Only for an exporter that knows itself to be the only one, at its start: whoever held them
        is gone. Should one still live, its lease's number no longer counts once a run is taken.
        """
        with writing(self.engine) as connection:
            statement = delivery.update().where(delivery.c.state == "running")
            return connection.execute(statement.values(due_micros=0)).rowcount

    def files(self, held: Delivery) -> list[tuple[SealedFile, bool]]:
        """Return the files known of the hour, and whether this run has delivered each."""
        with reading(self.engine) as connection:
            done = _delivered_numbers(connection, held)
            known = files_of(connection, held.scope, held.hour)
        return [(file, file.number in done) for file in known]

    def renew(self, held: Delivery, until_micros: int) -> None:
        """Keep the run until a later moment."""
        with writing(self.engine) as connection:
            _write(connection, held, due_micros=until_micros)

    def upload_started(self, held: Delivery, key: str, upload_id: str) -> None:
        """Store a multipart upload before its first part, so that the next holder can abort it."""
        with writing(self.engine) as connection:
            _write(connection, held, upload_key=key, upload_id=upload_id)

    def upload_ended(self, held: Delivery) -> None:
        """Forget the multipart upload: it was completed, or aborted."""
        with writing(self.engine) as connection:
            _write(connection, held, upload_key=None, upload_id=None)

    def file_delivered(
        self, held: Delivery, number: int, key: str, how: DeliveredHow, now_micros: int
    ) -> None:
        """Record that a file lies in the bucket; an upload stored under its key has ended."""
        with writing(self.engine) as connection:
            row = _hold(connection, held)
            if row.upload_key == key:
                _write(connection, held, upload_key=None, upload_id=None)
            if number not in _delivered_numbers(connection, held):
                connection.execute(
                    delivery_file.insert().values(
                        destination_id=held.destination_id,
                        data_type=held.data_type,
                        hour=held.hour.number,
                        number=number,
                        key=key,
                        how=how,
                        delivered_micros=now_micros,
                    )
                )
        killpoints.reached("ledger.file_delivered")

    def succeeded(self, held: Delivery, now_micros: int) -> None:
        """End the run. Raise `Corrupt` while its hour is open or a file is not delivered."""
        with writing(self.engine) as connection:
            _hold(connection, held)
            open_files = _open_files(connection, held)
            if not _is_sealed(connection, held) or open_files:
                raise Corrupt(
                    f"Cannot end the delivery of {held.data_type} of {held.hour} to destination "
                    f"{held.destination_id}: its hour is open or {open_files} files are missing. "
                    "This is a defect of tailrace; please report it."
                )
            _end(connection, held, "success", due_micros=None, finished_micros=now_micros)
        killpoints.reached("ledger.succeeded")

    def waiting(self, held: Delivery) -> None:
        """Let go of a run whose ready files are delivered and whose hour is open.

        The next hand-over of the hour makes it due; one that came while it was held does so now.
        """
        with writing(self.engine) as connection:
            _hold(connection, held)
            complete = not _is_sealed(connection, held) and not _open_files(connection, held)
            _end(connection, held, "pending", due_micros=None if complete else 0, attempts=0)

    def retry(self, held: Delivery, cause: Cause, next_try_micros: int) -> None:
        """Let go of a run until its next try."""
        with writing(self.engine) as connection:
            _end(connection, held, "retrying", due_micros=next_try_micros, cause=cause)

    def failed(self, held: Delivery, cause: Cause, *, next_probe_micros: int | None = None) -> bool:
        """Give up trying; the hour stays owed.

        With `next_probe_micros` the destination's outage begins in the same transaction, so that
        a crash can't leave the run behind. Return whether that outage is new: mail once for it.
        """
        with writing(self.engine) as connection:
            _end(connection, held, "failed", due_micros=None, cause=cause)
            if next_probe_micros is None:
                return False
            since = self.clock.now_micros()
            return note_outage(connection, held.destination_id, cause, since, next_probe_micros)

    def conflict(self, held: Delivery, cause: Cause, key: str) -> None:
        """Stop before an object of other content; a person decides."""
        with writing(self.engine) as connection:
            named = msgspec.structs.replace(cause, key=key)
            _end(connection, held, "conflict", due_micros=None, cause=named)

    def send_again(self, destination_id: int, data_type: DataType, hour: Hour) -> bool:
        """Make a run due that failed or met other content, as a person asks.

        Return False if it is in neither state.
        """
        with writing(self.engine) as connection:
            changed = connection.execute(
                delivery.update()
                .where(
                    delivery.c.destination_id == destination_id,
                    delivery.c.data_type == data_type,
                    delivery.c.hour == hour.number,
                    delivery.c.state.in_(("failed", "conflict")),
                )
                .values(state="retrying", due_micros=0, attempts=0)
            )
            return changed.rowcount == 1


def _candidates(
    connection: Connection,
    now_micros: int,
    destination_limit: int,
    passing_over: Collection[int],
) -> list[int]:
    """Return the destinations that have a run to take, in the order in which to ask them."""
    newest = (
        sa.select(delivery.c.hour)
        .where(delivery.c.destination_id == destination.c.id, delivery.c.due_micros <= now_micros)
        .order_by(delivery.c.hour.desc())
        .limit(1)
        .scalar_subquery()
    )
    running = (
        sa.select(sa.func.count())
        .where(
            delivery.c.state == "running",
            delivery.c.destination_id == destination.c.id,
            delivery.c.due_micros > now_micros,
        )
        .scalar_subquery()
    )
    asked = (
        sa.select(destination.c.id, newest.label("newest"), running.label("running"))
        .where(
            destination.c.state == "active",
            destination.c.outage_since_micros.is_(None),
            destination.c.id.not_in(passing_over),
        )
        .subquery()
    )
    statement = (
        sa.select(asked.c.id)
        .where(asked.c.newest.is_not(None), asked.c.running < destination_limit)
        .order_by(asked.c.running, asked.c.newest.desc(), asked.c.id)
        .limit(CANDIDATES_MAX)
    )
    return list(connection.execute(statement).scalars())


def _take(
    connection: Connection, destination_id: int, now_micros: int, lease_micros: int
) -> Delivery | None:
    # Only PostgreSQL runs claims side by side: there the row of one's own is locked at once, and
    # a row that another claim is just taking is passed over. SQLite leaves the words out.
    row = connection.execute(
        sa.select(delivery)
        .where(
            delivery.c.destination_id == destination_id,
            delivery.c.due_micros <= now_micros,
            delivery.c.state.in_(states_before("running")),
        )
        .order_by(delivery.c.hour.desc(), delivery.c.data_type.desc())
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    found = delivery_of(row)
    taken = msgspec.structs.replace(found, lease=found.lease + 1, attempts=found.attempts + 1)
    connection.execute(
        delivery.update()
        .where(_is(found), delivery.c.lease == found.lease)
        .values(
            state="running",
            lease=taken.lease,
            attempts=taken.attempts,
            due_micros=now_micros + lease_micros,
        )
    )
    return taken


def _end(
    connection: Connection,
    held: Delivery,
    state: RunState,
    *,
    cause: Cause | None = None,
    **values: Any,
) -> None:
    text = None if cause is None else text_of(cause)
    _write(connection, held, state=state, cause=text, **values)


def _write(connection: Connection, held: Delivery, **values: Any) -> None:
    """Write to the run where the lease is still the holder's, or raise `LeaseLost`."""
    changed = connection.execute(
        delivery.update()
        .where(_is(held), delivery.c.lease == held.lease, delivery.c.state == "running")
        .values(**values)
    )
    if changed.rowcount != 1:
        raise _lease_lost(held)


def _hold(connection: Connection, held: Delivery) -> sa.Row[Any]:
    """Return the run's row, kept from change until the transaction ends, or raise `LeaseLost`."""
    row = connection.execute(
        sa.select(delivery)
        .where(_is(held), delivery.c.lease == held.lease, delivery.c.state == "running")
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise _lease_lost(held)
    return row


def _lease_lost(held: Delivery) -> LeaseLost:
    return LeaseLost(
        f"Lost the lease {held.lease} on {held.data_type} of {held.hour} for destination "
        f"{held.destination_id}: another worker has taken the run over. Drop it."
    )


def _is(held: Delivery) -> sa.ColumnElement[bool]:
    return sa.and_(
        delivery.c.destination_id == held.destination_id,
        delivery.c.data_type == held.data_type,
        delivery.c.hour == held.hour.number,
    )


def _is_sealed(connection: Connection, held: Delivery) -> bool:
    statement = sa.select(sealed_hour.c.hour).where(
        sealed_hour.c.scope == held.scope, sealed_hour.c.hour == held.hour.number
    )
    return connection.execute(statement).one_or_none() is not None


def _open_files(connection: Connection, held: Delivery) -> int:
    """Count the known files that this run has not delivered."""
    done = _delivered_numbers(connection, held)
    return sum(file.number not in done for file in files_of(connection, held.scope, held.hour))


def _delivered_numbers(connection: Connection, held: Delivery) -> set[int]:
    rows = connection.execute(
        sa.select(delivery_file.c.number).where(
            delivery_file.c.destination_id == held.destination_id,
            delivery_file.c.data_type == held.data_type,
            delivery_file.c.hour == held.hour.number,
        )
    )
    return {row.number for row in rows}
