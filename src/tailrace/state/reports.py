"""What pages, the command line and metrics ask of the ledger; nothing here changes a row."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Row

from tailrace.hours import Hour
from tailrace.state.book import ReadingBook
from tailrace.state.database import reading
from tailrace.state.delivery import AUTOMATIC, Cause, DataType, DeliveredHow, RunState, Try
from tailrace.state.handover import files_of
from tailrace.state.rows import cause_of, file_of, hour_of, tries_of
from tailrace.state.sealed import SealedFile, SealedHour
from tailrace.state.tables import delivery, delivery_file, destination, sealed_file, sealed_hour

# A page or a command shows no more at once; ask again with `before`.
RUNS_MAX = 1000


RunSort = Literal["hour", "completed"]


class RunCount(msgspec.Struct, frozen=True):
    """How many runs of a destination are in a state."""

    destination_id: int
    state: RunState
    runs: int


class SealedCount(msgspec.Struct, frozen=True):
    """What of a scope is sealed: hours, and the files and lines in them."""

    scope: int
    hours: int
    newest: Hour


class Lag(msgspec.Struct, frozen=True):
    """How far an active destination is behind: the newest sealed hour, and the oldest owed one."""

    destination_id: int
    newest_sealed: Hour | None
    oldest_owed: Hour | None


class Run(msgspec.Struct, frozen=True):
    """One run as people see it. `due_micros` is the machine's time; the others the service's.

    `files`, `lines` and `size_bytes` are what is sealed of its hour.
    """

    destination_id: int
    data_type: DataType
    scope: int
    hour: Hour
    manual_export: int
    state: RunState
    attempts: int
    lease: int
    due_micros: int | None
    cause: Cause | None
    sealed: bool
    files: int
    lines: int
    size_bytes: int
    files_delivered: int
    created_micros: int
    started_micros: int | None
    tries: tuple[Try, ...]
    finished_micros: int | None


class DeliveredFile(msgspec.Struct, frozen=True):
    """One object of a run: its key, and whether we put it or found our bytes there."""

    number: int
    key: str
    how: DeliveredHow
    delivered_micros: int


class Reports(ReadingBook):
    """The ledger as `status` and the pages see it."""

    def run_counts(self) -> list[RunCount]:
        """Count the runs by destination and state."""
        statement = (
            sa.select(delivery.c.destination_id, delivery.c.state, sa.func.count().label("runs"))
            .where(self._own_destination(delivery.c.destination_id))
            .group_by(delivery.c.destination_id, delivery.c.state)
            .order_by(delivery.c.destination_id, delivery.c.state)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(statement)
            return [RunCount(row.destination_id, row.state, row.runs) for row in rows]

    def sealed_counts(self) -> list[SealedCount]:
        """Count the sealed hours by scope."""
        statement = (
            sa.select(
                sealed_hour.c.scope,
                sa.func.count().label("hours"),
                sa.func.max(sealed_hour.c.hour).label("newest"),
            )
            .where(self._own_scope(sealed_hour.c.scope))
            .group_by(sealed_hour.c.scope)
            .order_by(sealed_hour.c.scope)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(statement)
            return [SealedCount(row.scope, row.hours, Hour(row.newest)) for row in rows]

    def lags(self) -> list[Lag]:
        """Return how far each active destination is behind what is sealed, manual exports aside."""
        newest = (
            sa.select(sa.func.max(sealed_hour.c.hour))
            .where(
                sealed_hour.c.scope
                == sa.case(
                    (destination.c.include_events, destination.c.project),
                    else_=-destination.c.organization,
                )
            )
            .scalar_subquery()
        )
        oldest = (
            sa.select(sa.func.min(delivery.c.hour))
            .where(
                delivery.c.destination_id == destination.c.id,
                delivery.c.manual_export == AUTOMATIC,
                delivery.c.finished_micros.is_(None),
                sa.exists().where(
                    sealed_hour.c.scope == delivery.c.scope, sealed_hour.c.hour == delivery.c.hour
                ),
            )
            .scalar_subquery()
        )
        statement = (
            sa.select(destination.c.id, newest.label("newest"), oldest.label("oldest"))
            .where(destination.c.state == "active", self._own_destination(destination.c.id))
            .order_by(destination.c.id)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(statement)
            return [Lag(row.id, hour_of(row.newest), hour_of(row.oldest)) for row in rows]

    def runs(
        self,
        *,
        destination_id: int | None = None,
        scope: int | None = None,
        hour: Hour | None = None,
        states: tuple[RunState, ...] = (),
        before: Hour | None = None,
        since: Hour | None = None,
        manual_export: int | None = None,
        data_type: DataType | None = None,
        sort: RunSort = "hour",
        skip: int = 0,
        limit: int = RUNS_MAX,
    ) -> list[Run]:
        """Return runs, newest hour first; each filter that is given narrows them.

        `manual_export` is `AUTOMATIC` for automatic runs only, or a manual export's number. Hours
        from `since` on and `before` an hour are returned. By `completed` the one that was completed
        last comes first, and those that are not come at the end. The first `skip` are left out.
        """
        order = [
            delivery.c.hour.desc(),
            delivery.c.destination_id,
            delivery.c.data_type,
            delivery.c.manual_export,
        ]
        if sort == "completed":
            order.insert(0, delivery.c.finished_micros.desc().nulls_last())
        statement = (
            sa.select(delivery, _SEALED, _FILES, _LINES, _SIZE_BYTES, _FILES_DELIVERED)
            .where(self._own_destination(delivery.c.destination_id))
            .order_by(*order)
            .offset(skip)
            .limit(min(limit, RUNS_MAX))
        )
        if data_type is not None:
            statement = statement.where(delivery.c.data_type == data_type)
        if destination_id is not None:
            statement = statement.where(delivery.c.destination_id == destination_id)
        if scope is not None:
            statement = statement.where(delivery.c.scope == scope)
        if hour is not None:
            statement = statement.where(delivery.c.hour == hour.number)
        if states:
            statement = statement.where(delivery.c.state.in_(states))
        if before is not None:
            statement = statement.where(delivery.c.hour < before.number)
        if since is not None:
            statement = statement.where(delivery.c.hour >= since.number)
        if manual_export is not None:
            statement = statement.where(delivery.c.manual_export == manual_export)
        with reading(self.engine) as connection:
            return [_run_of(row) for row in connection.execute(statement)]

    def delivered_files(
        self,
        destination_id: int,
        data_type: DataType,
        hour: Hour,
        *,
        manual_export: int = AUTOMATIC,
    ) -> list[DeliveredFile]:
        """Return the objects that a run has delivered, by number."""
        statement = (
            sa.select(delivery_file)
            .where(
                self._own_destination(delivery_file.c.destination_id),
                delivery_file.c.destination_id == destination_id,
                delivery_file.c.data_type == data_type,
                delivery_file.c.hour == hour.number,
                delivery_file.c.manual_export == manual_export,
            )
            .order_by(delivery_file.c.number)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(statement)
            return [
                DeliveredFile(row.number, row.key, row.how, row.delivered_micros) for row in rows
            ]

    def sealed_hour(self, scope: int, hour: Hour) -> SealedHour | None:
        """Return the hour with all its files, or None while it is open."""
        statement = sa.select(sealed_hour).where(
            self._own_scope(sealed_hour.c.scope),
            sealed_hour.c.scope == scope,
            sealed_hour.c.hour == hour.number,
        )
        with reading(self.engine) as connection:
            row = connection.execute(statement).one_or_none()
            if row is None:
                return None
            files = files_of(connection, scope, hour)
        return SealedHour(scope, row.organization, hour, row.record, row.digest, tuple(files))

    def files_of_hour(self, scope: int, hour: Hour) -> list[SealedFile]:
        """Return the files that are known of an hour, by number; also while it is open."""
        statement = (
            sa.select(sealed_file)
            .where(
                self._own_scope(sealed_file.c.scope),
                sealed_file.c.scope == scope,
                sealed_file.c.hour == hour.number,
            )
            .order_by(sealed_file.c.number)
        )
        with reading(self.engine) as connection:
            return [file_of(row) for row in connection.execute(statement)]


_SEALED = (
    sa.exists()
    .where(sealed_hour.c.scope == delivery.c.scope, sealed_hour.c.hour == delivery.c.hour)
    .label("sealed")
)


def _of_files(value: sa.ColumnElement[int], name: str) -> sa.Label[int]:
    """Return what the sealed files of a run's hour come to."""
    return (
        sa.select(value)
        .where(sealed_file.c.scope == delivery.c.scope, sealed_file.c.hour == delivery.c.hour)
        .scalar_subquery()
        .label(name)
    )


_FILES = _of_files(sa.func.count(), "files")
_LINES = _of_files(sa.func.coalesce(sa.func.sum(sealed_file.c.lines), 0), "lines")
_SIZE_BYTES = _of_files(sa.func.coalesce(sa.func.sum(sealed_file.c.size_bytes), 0), "size_bytes")
_FILES_DELIVERED = (
    sa.select(sa.func.count())
    .where(
        delivery_file.c.destination_id == delivery.c.destination_id,
        delivery_file.c.data_type == delivery.c.data_type,
        delivery_file.c.hour == delivery.c.hour,
        delivery_file.c.manual_export == delivery.c.manual_export,
    )
    .scalar_subquery()
    .label("files_delivered")
)


def _run_of(row: Row[Any]) -> Run:
    return Run(
        destination_id=row.destination_id,
        data_type=row.data_type,
        scope=row.scope,
        hour=Hour(row.hour),
        manual_export=row.manual_export,
        state=row.state,
        attempts=row.attempts,
        lease=row.lease,
        due_micros=row.due_micros,
        cause=cause_of(row.cause),
        sealed=bool(row.sealed),
        files=row.files,
        lines=int(row.lines),
        size_bytes=int(row.size_bytes),
        files_delivered=row.files_delivered,
        created_micros=row.created_micros,
        started_micros=row.started_micros,
        tries=tries_of(row.tries),
        finished_micros=row.finished_micros,
    )
