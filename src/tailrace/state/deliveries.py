"""What became of a run that was taken: the ledger as a worker of `export` sees it.

A run is held under a lease with a number that grows. Every write says "where the lease is mine"
and raises `LeaseLost` when another holder has taken the run over.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace import killpoints
from tailrace.errors import Corrupt, Halted, LeaseLost
from tailrace.hours import Hour
from tailrace.state.book import Book
from tailrace.state.claims import of_run, on_hold, tries_with
from tailrace.state.database import reading, writing
from tailrace.state.delivery import (
    AUTOMATIC,
    Cause,
    DataType,
    DeliveredHow,
    Delivery,
    RunState,
    TryOutcome,
)
from tailrace.state.handover import files_of
from tailrace.state.manual_exports import finish_if_done
from tailrace.state.outages import note_outage
from tailrace.state.rows import UNTRIED, text_of, values_of_cause
from tailrace.state.sealed import SealedFile
from tailrace.state.sharing import sharing
from tailrace.state.tables import (
    delivery,
    delivery_file,
    destination,
    manual_export,
    sealed_file,
    sealed_hour,
)


class Deliveries(Book):
    """The queue of runs. All times handed in are the machine's, in microseconds."""

    def files(self, held: Delivery) -> list[tuple[SealedFile, bool]]:
        """Return the files known of the hour, and whether this run has delivered each."""
        with reading(self.engine) as connection:
            done = _delivered_numbers(connection, held)
            known = files_of(connection, held.scope, held.hour)
        return [(file, file.number in done) for file in known]

    def dropped_files(self, held: Delivery) -> set[int]:
        """Return the numbers of the hour's files that the archive was told it may drop."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                sa.select(sealed_file.c.number).where(
                    sealed_file.c.scope == held.scope,
                    sealed_file.c.hour == held.hour.number,
                    sealed_file.c.removed_micros.is_not(None),
                )
            )
            return set(rows.scalars())

    def renew(self, held: Delivery, until_micros: int, *, now_micros: int) -> None:
        """Keep the run until a later moment.

        Raise `Halted` if its manual export is not running any more, or if a person changes the
        destination just now; the lease is kept all the same.
        """
        with writing(self.engine) as connection:
            _write(connection, held, due_micros=until_micros)
            halted = _halted(connection, held)
            on_hold = _is_on_hold(connection, held.destination_id, now_micros)
        if halted is not None and not held.cancelled:
            raise Halted(f"The manual export {held.manual_export} is {halted}.")
        if on_hold:
            raise Halted(f"Destination {held.destination_id} is being changed.")

    def is_cancelled(self, held: Delivery) -> bool:
        """Tell whether the run's manual export was cancelled."""
        with reading(self.engine) as connection:
            return _halted(connection, held) == "cancelled"

    def upload_of(self, held: Delivery) -> tuple[str, str] | None:
        """Return the key and the ID of the upload that is written down for the run."""
        with writing(self.engine) as connection:
            row = _hold(connection, held)
        return None if row.upload_id is None else (row.upload_key, row.upload_id)

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
                        manual_export=held.manual_export,
                        number=number,
                        key=key,
                        how=how,
                        delivered_micros=now_micros,
                    )
                )
        killpoints.reached("ledger.file_delivered")

    def succeeded(self, held: Delivery, now_micros: int) -> None:
        """End the run. Raise `Corrupt` while its hour is open or a file is not delivered.

        One that overwrote makes the runs due that met what was in its place.
        """
        with writing(self.engine) as connection:
            _hold(connection, held)
            open_files = _open_files(connection, held)
            if not _is_sealed(connection, held) or open_files:
                raise Corrupt(
                    f"Cannot end the delivery of {held.data_type} of {held.hour} to destination "
                    f"{held.destination_id}: its hour is open or {open_files} files are missing. "
                    "This is a defect of tailrace; please report it."
                )
            tries = _tried(held, now_micros, "success")
            _end(
                connection,
                held,
                "success",
                due_micros=None,
                finished_micros=now_micros,
                tries=tries,
            )
            if held.overwrite:
                _send_conflicts_again(connection, held)
            if held.manual_export != AUTOMATIC:
                finish_if_done(connection, held.manual_export, now_micros)
        killpoints.reached("ledger.succeeded")

    def waiting(self, held: Delivery) -> None:
        """Let go of a run whose ready files are delivered and whose hour is open.

        The next hand-over of the hour makes it due; one that came while it was held does so now.
        """
        with writing(self.engine) as connection:
            _hold(connection, held)
            if not _is_sealed(connection, held) and not _open_files(connection, held):
                _end(connection, held, "pending", due_micros=None, **UNTRIED)
                return
            tries = _tried(held, self.clock.now_micros(), "let go")
            _end(connection, held, "pending", due_micros=0, tries=tries, **UNTRIED)

    def let_go(self, held: Delivery) -> None:
        """Let go of a run that was interrupted; it is due at once, and the try counts for nothing.

        What was counted before stays, so that restarts put no outage off.
        """
        with writing(self.engine) as connection:
            tries = _tried(held, self.clock.now_micros(), "let go")
            attempts = held.attempts - 1
            _end(connection, held, "pending", due_micros=0, attempts=attempts, tries=tries)

    def cancelled(self, held: Delivery) -> None:
        """End a run of a manual export that was cancelled; nothing of it is left to clean up."""
        with writing(self.engine) as connection:
            now = self.clock.now_micros()
            _end(
                connection,
                held,
                "cancelled",
                due_micros=None,
                finished_micros=now,
                tries=_tried(held, now, "cancelled"),
            )

    def retry(self, held: Delivery, cause: Cause, next_try_micros: int) -> None:
        """Let go of a run until its next try; refused access is counted."""
        with writing(self.engine) as connection:
            _end(
                connection,
                held,
                "retrying",
                due_micros=next_try_micros,
                cause=cause,
                refusals=held.refusals + (cause.kind == "access"),
                tries=_tried(held, self.clock.now_micros(), "retrying", cause),
            )

    def failed(self, held: Delivery, cause: Cause, *, next_probe_micros: int | None = None) -> bool:
        """Give up trying; the hour stays owed.

        With `next_probe_micros` the destination's outage begins in the same transaction, so that
        a crash can't leave the run behind. Return whether that outage is new: mail once for it.
        """
        with writing(self.engine) as connection:
            tries = _tried(held, self.clock.now_micros(), "failed", cause)
            _end(connection, held, "failed", due_micros=None, cause=cause, tries=tries)
            if next_probe_micros is None:
                return False
            since = self.clock.now_micros()
            return note_outage(connection, held.destination_id, cause, since, next_probe_micros)

    def conflict(self, held: Delivery, cause: Cause, key: str) -> None:
        """Stop before an object of other content; a person decides."""
        with writing(self.engine) as connection:
            named = msgspec.structs.replace(cause, key=key)
            _end(
                connection,
                held,
                "conflict",
                due_micros=None,
                cause=named,
                refusals=0,
                tries=_tried(held, self.clock.now_micros(), "conflict", named),
            )

    def send_again(
        self,
        destination_id: int,
        data_type: DataType,
        hour: Hour,
        *,
        manual_export: int = AUTOMATIC,
    ) -> bool:
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
                    delivery.c.manual_export == manual_export,
                    delivery.c.state.in_(("failed", "conflict")),
                )
                .values(state="retrying", due_micros=0, **UNTRIED)
            )
            return changed.rowcount == 1


def _send_conflicts_again(connection: Connection, held: Delivery) -> None:
    """Make runs of the same keys due that are in conflict: they find our bytes now.

    Those of a paused destination or manual export are not taken before it goes on.
    """
    connection.execute(
        delivery.update()
        .where(
            delivery.c.destination_id.in_(sharing(connection, held.destination_id)),
            delivery.c.data_type == held.data_type,
            delivery.c.hour == held.hour.number,
            delivery.c.scope == held.scope,
            delivery.c.state == "conflict",
        )
        .values(state="retrying", due_micros=0, **UNTRIED)
    )


def _tried(
    held: Delivery, ended_micros: int, outcome: TryOutcome, cause: Cause | None = None
) -> str:
    return text_of(tries_with(held, ended_micros, outcome, cause))


def _halted(connection: Connection, held: Delivery) -> str | None:
    """Return what a run's manual export is instead of running; None if it goes on."""
    if held.manual_export == AUTOMATIC:
        return None
    state: str = connection.execute(
        sa.select(manual_export.c.state).where(manual_export.c.id == held.manual_export)
    ).scalar_one()
    return None if state == "running" else state


def _is_on_hold(connection: Connection, destination_id: int, now_micros: int) -> bool:
    statement = sa.select(on_hold(now_micros)).where(destination.c.id == destination_id)
    return bool(connection.execute(statement).scalar_one())


def _end(
    connection: Connection,
    held: Delivery,
    state: RunState,
    *,
    cause: Cause | None = None,
    **values: Any,
) -> None:
    _write(connection, held, state=state, **values_of_cause(cause), **values)


def _write(connection: Connection, held: Delivery, **values: Any) -> None:
    """Write to the run where the lease is still the holder's, or raise `LeaseLost`."""
    changed = connection.execute(
        delivery.update()
        .where(of_run(held), delivery.c.lease == held.lease, delivery.c.state == "running")
        .values(**values)
    )
    if changed.rowcount != 1:
        raise _lease_lost(held)


def _hold(connection: Connection, held: Delivery) -> sa.Row[Any]:
    """Return the run's row, kept from change until the transaction ends, or raise `LeaseLost`."""
    row = connection.execute(
        sa.select(delivery)
        .where(of_run(held), delivery.c.lease == held.lease, delivery.c.state == "running")
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
            delivery_file.c.manual_export == held.manual_export,
        )
    )
    return {row.number for row in rows}
