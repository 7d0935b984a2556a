"""What the archive may drop: files that every destination has, and nobody still waits for."""

from __future__ import annotations

import sqlalchemy as sa

from tailrace.hours import Hour
from tailrace.state.book import Book
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.delivery import AUTOMATIC, OWED_STATES, SETTLED_STATES
from tailrace.state.derive import is_dropped
from tailrace.state.rows import file_of
from tailrace.state.sealed import SealedFile
from tailrace.state.tables import delivery, destination, sealed_file, sealed_hour


class Keeping(Book):
    """The ledger as whoever frees disk space sees it.

    Files of merged IDs stay for good: a destination that is added in years gets them all (D39),
    and they are small.
    """

    def file_is_owed(self, scope: int, hour: Hour) -> bool:
        """Tell whether a run of the hour is neither delivered nor cancelled."""
        with reading(self.engine) as connection:
            statement = sa.select(_run_of(sa.literal(scope), sa.literal(hour.number), OWED_STATES))
            return bool(connection.execute(statement).scalar_one())

    def removable_files(self, limit: int, after: SealedFile | None = None) -> list[SealedFile]:
        """Return delivered files whose archive copies may go, oldest first, behind `after`."""
        order = (sealed_file.c.hour, sealed_file.c.scope, sealed_file.c.number)
        statement = sa.select(sealed_file).where(_may_go()).order_by(*order).limit(limit)
        if after is not None:
            place = (after.hour.number, after.scope, after.number)
            statement = statement.where(sa.tuple_(*order) > place)
        with reading(self.engine) as connection:
            return [file_of(row) for row in connection.execute(statement)]

    def mark_removed(self, file: SealedFile) -> bool:
        """Note that the archive's copy goes; call it before the copy is removed.

        Return False, and change nothing, if the file is owed, was never delivered, or is marked.
        """
        with writing(self.engine) as connection:
            one_change_at_a_time(connection)
            changed = connection.execute(
                sealed_file.update()
                .where(
                    sealed_file.c.scope == file.scope,
                    sealed_file.c.hour == file.hour.number,
                    sealed_file.c.number == file.number,
                    _may_go(),
                )
                .values(removed_micros=self.clock.now_micros())
            )
            return changed.rowcount == 1


def _may_go() -> sa.ColumnElement[bool]:
    scope, hour = sealed_file.c.scope, sealed_file.c.hour
    return sa.and_(
        scope > 0,
        sealed_file.c.removed_micros.is_(None),
        sa.exists().where(sealed_hour.c.scope == scope, sealed_hour.c.hour == hour),
        _run_of(scope, hour, ("success",)),
        ~_run_of(scope, hour, OWED_STATES),
        ~_is_awaited(scope, hour),
    )


def _is_awaited(scope: sa.ColumnElement[int], hour: sa.ColumnElement[int]) -> sa.Exists:
    """Whether an interval covers the hour and the destination did not get it.

    A paused destination has no runs of the hours that it misses; they are owed once it goes on. One
    that is deleted waits for nothing, and nobody for an hour that is not whole any more.
    """
    settled = sa.exists().where(
        delivery.c.destination_id == destination.c.id,
        delivery.c.scope == scope,
        delivery.c.hour == hour,
        delivery.c.manual_export == AUTOMATIC,
        delivery.c.state.in_(SETTLED_STATES),
    )
    return sa.exists().where(
        destination.c.state != "deleted",
        destination.c.include_events,
        destination.c.project == scope,
        destination.c.from_hour <= hour,
        sa.or_(destination.c.until_hour.is_(None), hour < destination.c.until_hour),
        ~settled,
        ~is_dropped(scope, hour),
    )


def _run_of(
    scope: sa.ColumnElement[int], hour: sa.ColumnElement[int], states: tuple[str, ...]
) -> sa.Exists:
    return sa.exists().where(
        delivery.c.scope == scope, delivery.c.hour == hour, delivery.c.state.in_(states)
    )
