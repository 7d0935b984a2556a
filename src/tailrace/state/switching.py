"""Automatic exports on and off: activation, pause and resume, and the hours missed in between.

A part of `Destinations`. While a destination is paused its hours get no runs; what it missed is
owed in the transaction that resumes it, but for what a person leaves out (D21).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace import killpoints
from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.state.database import reading
from tailrace.state.delivery import (
    AUTOMATIC,
    OWED_STATES,
    Capabilities,
    DataType,
    Destination,
)
from tailrace.state.derive import derive, hours_without_run
from tailrace.state.destination_book import (
    DestinationBook,
    refuse_changed,
    set_values,
)
from tailrace.state.sharing import refuse_shared_bucket
from tailrace.state.tables import delivery, sealed_file, sealed_hour


class MissedHour(msgspec.Struct, frozen=True):
    """A sealed hour that a destination was not sent because it was paused."""

    data_type: DataType
    hour: Hour
    files: int
    lines: int
    size_bytes: int


class LeftOut(msgspec.Struct, frozen=True):
    """Missed hours that a person does not want: of one data type, `[first, until)`."""

    data_type: DataType
    first: Hour
    until: Hour


class Switching(DestinationBook):
    """Switch automatic exports on and off."""

    def activate(
        self,
        destination_id: int,
        capabilities: Capabilities,
        *,
        probed: Destination | None = None,
    ) -> Destination:
        """Make a destination active whose probes have all passed; nothing but `resume` may else.

        The first time it covers today from 00:00 UTC: hours of today that are sealed are owed at
        once (D19), and with merged IDs all hours since the organization's first merge (D39).
        Later it keeps its interval, so hours missed while it was paused are owed. An outage ends,
        and runs in conflict, or that wait for their next try, are tried at once: a person has been
        at the bucket.

        Raise `BadRequest` for a deleted destination, a bucket that another organization has taken
        (D45), and one that is not any more what was `probed`.
        """
        with self._change() as connection:
            before = self._find_living(connection, destination_id, "activate")
            if probed is not None:
                refuse_changed(before, probed)
            first = self._switch_on(connection, before, capabilities)
            self._derive(connection, destination_id)
            seen = msgspec.structs.asdict(capabilities)
            self._note(connection, destination_id, "activated", {"from_hour": str(first), **seen})
            return self._find(connection, destination_id)

    def resume(
        self, probed: Destination, capabilities: Capabilities, *, left_out: Sequence[LeftOut] = ()
    ) -> Destination:
        """Switch a paused destination's automatic exports on again, whose probes have all passed.

        What it missed is owed, but for what is `left_out`: of that the runs are cancelled. Raise
        `BadRequest` as `activate` does.
        """
        with self._change() as connection:
            before = self._find_living(connection, probed.id, "resume")
            refuse_changed(before, probed)
            first = self._switch_on(connection, before, capabilities)
            without = self._leave_out(connection, probed.id, left_out)
            now = self.clock.now_micros()
            owed = derive(connection, now_micros=now, destination_id=probed.id)
            detail = {"from_hour": str(first), "newly_owed": owed, "left_out": without}
            self._note(connection, probed.id, "resumed", detail)
            killpoints.reached("destination.before_commit")
            return self._find(connection, probed.id)

    def pause(self, destination_id: int) -> Destination:
        """Switch an active destination's automatic exports off.

        What it owes stays owed; no run of it is taken, and one in work ends. Manual exports go on.
        """
        with self._change() as connection:
            before = self._find_living(connection, destination_id, "pause")
            if before.state != "active":
                raise BadRequest(
                    f"Cannot pause destination {destination_id}: it is "
                    f"{before.state.replace('_', ' ')}, not active."
                )
            now = self.clock.now_micros()
            set_values(connection, destination_id, state="paused", paused_micros=now)
            self._note(connection, destination_id, "paused", {})
            killpoints.reached("destination.before_commit")
            return self._find(connection, destination_id)

    def verified_paused(self, probed: Destination, capabilities: Capabilities) -> Destination:
        """Note that all probes of a paused destination have passed; it stays paused.

        Its outage ends, and what waits or is in conflict is due: of manual exports at once, of
        automatic ones when it is resumed. Raise `BadRequest` for a deleted destination, and one
        that is not any more what was `probed`.
        """
        with self._change() as connection:
            before = self._find_living(connection, probed.id, "verify")
            refuse_changed(before, probed)
            self._note_access(connection, probed.id, capabilities)
            self._note(connection, probed.id, "verified", msgspec.structs.asdict(capabilities))
            return self._find(connection, probed.id)

    def missed(self, destination_id: int) -> list[MissedHour]:
        """Return the sealed hours that resuming a paused destination would owe, oldest first.

        Empty for one that is not paused: it misses nothing.
        """
        with reading(self.engine) as connection:
            if self._find(connection, destination_id).state != "paused":
                return []
            return _missed(connection, destination_id)

    def owed_runs(self, destination_id: int) -> int:
        """Count the automatic runs that a destination owes."""
        statement = sa.select(sa.func.count()).where(
            delivery.c.destination_id == destination_id,
            delivery.c.manual_export == AUTOMATIC,
            delivery.c.state.in_(OWED_STATES),
        )
        with reading(self.engine) as connection:
            self._find(connection, destination_id)
            return int(connection.execute(statement).scalar_one())

    def _switch_on(
        self, connection: Connection, before: Destination, capabilities: Capabilities
    ) -> Hour:
        """Set the state and return the first hour; the caller derives what is owed."""
        refuse_shared_bucket(connection, before.organization, before.bucket, before.endpoint_url)
        first = before.from_hour or Hour.of_micros(self.clock.now_micros()).day_start()
        set_values(
            connection,
            before.id,
            state="active",
            from_hour=first.number,
            paused_micros=None,
        )
        self._note_access(connection, before.id, capabilities)
        return first

    def _leave_out(
        self, connection: Connection, destination_id: int, left_out: Iterable[LeftOut]
    ) -> int:
        """Make cancelled runs of missed hours, so that they are never owed; return their number."""
        now = self.clock.now_micros()
        count = 0
        for one in left_out:
            rows = hours_without_run(one.data_type, destination_id).subquery()
            values = {
                "destination_id": rows.c.destination_id,
                "data_type": rows.c.data_type,
                "hour": rows.c.hour,
                "manual_export": rows.c.manual_export,
                "scope": rows.c.scope,
                "state": sa.literal("cancelled"),
                "attempts": sa.literal(0),
                "lease": sa.literal(0),
                "created_micros": sa.literal(now),
                "finished_micros": sa.literal(now),
            }
            new = sa.select(*values.values()).where(
                rows.c.hour >= one.first.number, rows.c.hour < one.until.number, _is_sealed(rows)
            )
            made = connection.execute(delivery.insert().from_select(list(values), new))
            count += made.rowcount
        return count


def _missed(connection: Connection, destination_id: int) -> list[MissedHour]:
    found: list[MissedHour] = []
    types: tuple[DataType, ...] = ("events", "merged-ids")
    for data_type in types:
        rows = hours_without_run(data_type, destination_id).subquery()
        statement = (
            sa.select(
                rows.c.hour,
                sa.func.count(sealed_file.c.number).label("files"),
                sa.func.coalesce(sa.func.sum(sealed_file.c.lines), 0).label("lines"),
                sa.func.coalesce(sa.func.sum(sealed_file.c.size_bytes), 0).label("size_bytes"),
            )
            .outerjoin(
                sealed_file,
                sa.and_(sealed_file.c.scope == rows.c.scope, sealed_file.c.hour == rows.c.hour),
            )
            .where(_is_sealed(rows))
            .group_by(rows.c.hour)
            .order_by(rows.c.hour)
        )
        found += [
            MissedHour(data_type, Hour(row.hour), row.files, row.lines, row.size_bytes)
            for row in connection.execute(statement)
        ]
    return sorted(found, key=lambda one: (one.hour, one.data_type))


def _is_sealed(rows: sa.Subquery) -> sa.Exists:
    return sa.exists().where(sealed_hour.c.scope == rows.c.scope, sealed_hour.c.hour == rows.c.hour)
