"""Change and delete a destination while its runs go on: hold it, then write all at once.

A part of `Destinations`. For a moment no run of the destination is taken and those in work let go,
so that no object of an hour goes to the old place once the new one holds. A hold that nobody ends,
because whoever held it died, runs out by itself.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace import killpoints
from tailrace.errors import BadRequest, Transient
from tailrace.hours import Hour
from tailrace.state import outage_history
from tailrace.state.database import reading
from tailrace.state.delivery import (
    AUTOMATIC,
    OWED_STATES,
    Capabilities,
    DataType,
    Destination,
)
from tailrace.state.destination_book import (
    DestinationBook,
    refuse_changed,
    set_values,
)
from tailrace.state.destination_fields import CHANGEABLE, PLACE
from tailrace.state.drafts import follow
from tailrace.state.naming import checked_name
from tailrace.state.rows import UNTRIED
from tailrace.state.sharing import refuse_shared_bucket
from tailrace.state.tables import (
    delivery,
    delivery_file,
    earlier_place,
    manual_export,
)

_NOTHING = "it would receive nothing. Include events or merged-ids."


class Upload(msgspec.Struct, frozen=True):
    """A multipart upload that a run began and did not end."""

    key: str
    upload_id: str


class UnderWay(msgspec.Struct, frozen=True):
    """What goes on at a destination: how many runs are in work, and the uploads that were begun."""

    in_work: int
    uploads: tuple[Upload, ...]


class BegunHour(msgspec.Struct, frozen=True):
    """An hour of which files lay at the place that a destination left; it is put anew, whole."""

    data_type: DataType
    hour: Hour
    files: int


class Place(msgspec.Struct, frozen=True):
    """Where a destination's objects went until `until_micros` (the service's time)."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    until_micros: int


class Deleted(msgspec.Struct, frozen=True):
    """What a deletion gave up: runs that were owed, and manual exports that went on."""

    destination: Destination
    runs: int
    manual_exports: int


class Editing(DestinationBook):
    """Hold, change and delete destinations. Holds follow the machine's time, in microseconds."""

    def hold(self, destination_id: int, until_micros: int) -> None:
        """Let no run be taken until then; those in work let go before they next write."""
        with self._change() as connection:
            self._find_living(connection, destination_id, "change")
            set_values(connection, destination_id, held_until_micros=until_micros)
        killpoints.reached("destination.held")

    def release(self, destination_id: int) -> None:
        """End a hold: everything goes on as before."""
        with self._change() as connection:
            self._find(connection, destination_id)
            set_values(connection, destination_id, held_until_micros=None)

    def under_way(self, destination_id: int, now_micros: int) -> UnderWay:
        """Return what goes on at a destination."""
        with reading(self.engine) as connection:
            self._find(connection, destination_id)
            return _under_way(connection, destination_id, now_micros)

    def refuse_bucket(self, wanted: Destination) -> None:
        """Raise `BadRequest` if another organization exports to a bucket that is wanted (D45)."""
        with reading(self.engine) as connection:
            organization = self._find(connection, wanted.id).organization
            refuse_shared_bucket(connection, organization, wanted.bucket, wanted.endpoint_url)

    def refuse_move(self, destination_id: int) -> None:
        """Raise `BadRequest` while manual exports are under way, as `edit` does for a new place."""
        with reading(self.engine) as connection:
            self._find(connection, destination_id)
            _refuse_manual_exports(connection, destination_id)

    def edit(
        self,
        seen: Destination,
        wanted: Destination,
        capabilities: Capabilities | None,
        *,
        aborted: Collection[Upload] = (),
        now_micros: int,
    ) -> tuple[BegunHour, ...]:
        """Make a destination what is `wanted`, where it still is what was `seen`.

        `capabilities` are those that the probes of another place, access or encryption found, which
        must all have passed; None while it is being set up. Delivered hours stay where they are;
        what is owed goes to the new place, each hour whole: those with files at the old one are
        returned. A set-up on the pages that leads to it shows what was changed.

        Raise `BadRequest` for a deleted destination, one of which what was probed or is set here
        was changed meanwhile, a name that it can't have, a bucket of another organization (D45), no
        data type, and for a new place while manual exports are under way; `Transient` while runs
        are in work or have uploads that are not among those `aborted`.
        """
        changes = changed(seen, wanted)
        _refuse_nothing(wanted)
        with self._change() as connection:
            before = self._find_living(connection, seen.id, "change")
            refuse_changed(before, seen, changes)
            # Somebody else may have switched off the one data type that is left here.
            _refuse_nothing(msgspec.structs.replace(before, **changes))
            begun: tuple[BegunHour, ...] = ()
            if "name" in changes:
                changes["name"] = checked_name(
                    connection, before.project, wanted.name, but=before.id
                )
            if set(PLACE) & set(changes):
                refuse_shared_bucket(
                    connection, before.organization, wanted.bucket, wanted.endpoint_url
                )
                _refuse_manual_exports(connection, before.id)
                _refuse_under_way(connection, before.id, now_micros, aborted)
                begun = self._move(connection, before)
                set_values(connection, before.id, held_until_micros=None)
            if changes:
                set_values(connection, before.id, **changes)
            if capabilities is not None:
                self._note_access(connection, before.id, capabilities)
            self._derive(connection, before.id)
            now = self.clock.now_micros()
            after = self._find(connection, before.id)
            follow(connection, after, changes, at_micros=now, by=self.by)
            shown = {name: value for name, value in changes.items() if name != "secret_encrypted"}
            shown["fields"] = list(changes)
            self._note(connection, before.id, "edited", shown)
            killpoints.reached("destination.before_commit")
        return begun

    def delete(
        self, destination_id: int, *, aborted: Collection[Upload], now_micros: int
    ) -> Deleted:
        """End a destination: nothing is owed any more, its secret is gone, its history stays.

        What was delivered stays in the bucket, which is free for other organizations. Raise
        `BadRequest` for one that is deleted already, and `Transient` as `edit` does.
        """
        with self._change() as connection:
            self._find_living(connection, destination_id, "delete")
            _refuse_under_way(connection, destination_id, now_micros, aborted)
            now = self.clock.now_micros()
            runs = connection.execute(
                delivery.update()
                .where(_owed(destination_id))
                .values(
                    state="cancelled",
                    due_micros=None,
                    finished_micros=now,
                    lease=delivery.c.lease + 1,
                    upload_key=None,
                    upload_id=None,
                )
            ).rowcount
            exports = connection.execute(
                manual_export.update()
                .where(_goes_on(destination_id))
                .values(state="cancelled", finished_micros=now)
            ).rowcount
            set_values(
                connection,
                destination_id,
                state="deleted",
                deleted_micros=now,
                held_until_micros=None,
                secret_encrypted=None,
                outage_since_micros=None,
                outage_cause=None,
                next_probe_micros=None,
            )
            outage_history.close_all(connection, destination_id, now)
            detail = {"runs_cancelled": runs, "manual_exports_cancelled": exports}
            self._note(connection, destination_id, "deleted", detail)
            killpoints.reached("destination.before_commit")
            return Deleted(self._find(connection, destination_id), runs, exports)

    def earlier_places(self, destination_id: int) -> list[Place]:
        """Return where a destination's objects went before, the latest first."""
        statement = (
            sa.select(earlier_place)
            .where(earlier_place.c.destination_id == destination_id)
            .order_by(earlier_place.c.id.desc())
        )
        with reading(self.engine) as connection:
            self._find(connection, destination_id)
            return [
                Place(row.bucket, row.prefix, row.endpoint_url, row.until_micros)
                for row in connection.execute(statement)
            ]

    def manual_exports_under_way(self, destination_id: int) -> list[int]:
        """Return the numbers of the destination's manual exports that are not at an end."""
        with reading(self.engine) as connection:
            self._find(connection, destination_id)
            return _manual_exports(connection, destination_id)

    def _move(self, connection: Connection, before: Destination) -> tuple[BegunHour, ...]:
        """Let what is owed begin anew elsewhere, and remember where objects went so far."""
        if before.from_hour is not None:
            connection.execute(
                earlier_place.insert().values(
                    destination_id=before.id,
                    bucket=before.bucket,
                    prefix=before.prefix,
                    endpoint_url=before.endpoint_url,
                    until_micros=self.clock.now_micros(),
                )
            )
        begun = _begun_hours(connection, before.id)
        connection.execute(
            delivery_file.delete().where(
                delivery_file.c.destination_id == before.id,
                sa.exists().where(_owed(before.id), _same_run()),
            )
        )
        connection.execute(
            delivery.update()
            .where(_owed(before.id))
            .values(
                state=sa.case(
                    (delivery.c.state.in_(("pending", "running")), "pending"), else_="retrying"
                ),
                due_micros=0,
                **UNTRIED,
                lease=delivery.c.lease + 1,
                upload_key=None,
                upload_id=None,
            )
        )
        return begun


def changed(seen: Destination, wanted: Destination) -> dict[str, object]:
    """Return the fields in which two states of a destination differ, with the wanted values."""
    return {
        name: getattr(wanted, name)
        for name in CHANGEABLE
        if getattr(seen, name) != getattr(wanted, name)
    }


def _refuse_nothing(wanted: Destination) -> None:
    if not wanted.include_events and not wanted.include_merged_ids:
        raise BadRequest(f"Cannot change destination {wanted.id}: {_NOTHING}")


def _refuse_manual_exports(connection: Connection, destination_id: int) -> None:
    """Raise `BadRequest` while manual exports go on: their hours would lie in two places."""
    going_on = _manual_exports(connection, destination_id)
    if going_on:
        raise BadRequest(
            f"Cannot give destination {destination_id} another bucket, prefix or endpoint while "
            f"its manual export {going_on[0]} is under way. Let that end, or run "
            f'"tailrace backfill cancel {going_on[0]}".'
        )


def _manual_exports(connection: Connection, destination_id: int) -> list[int]:
    statement = (
        sa.select(manual_export.c.id).where(_goes_on(destination_id)).order_by(manual_export.c.id)
    )
    return list(connection.execute(statement).scalars())


def _goes_on(destination_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        manual_export.c.destination_id == destination_id,
        manual_export.c.state.in_(("running", "paused")),
    )


def _owed(destination_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(delivery.c.destination_id == destination_id, delivery.c.state.in_(OWED_STATES))


def _under_way(connection: Connection, destination_id: int, now_micros: int) -> UnderWay:
    in_work = sa.select(sa.func.count()).where(
        delivery.c.destination_id == destination_id,
        delivery.c.state == "running",
        delivery.c.due_micros > now_micros,
    )
    uploads = sa.select(delivery.c.upload_key, delivery.c.upload_id).where(
        _owed(destination_id), delivery.c.upload_id.is_not(None)
    )
    return UnderWay(
        in_work=int(connection.execute(in_work).scalar_one()),
        uploads=tuple(Upload(row.upload_key, row.upload_id) for row in connection.execute(uploads)),
    )


def _refuse_under_way(
    connection: Connection, destination_id: int, now_micros: int, aborted: Collection[Upload]
) -> None:
    found = _under_way(connection, destination_id, now_micros)
    if found.in_work or set(found.uploads) - set(aborted):
        raise Transient(
            f"Cannot change destination {destination_id} just now: {found.in_work} of its runs are "
            "in work. Nothing was changed; try again in a minute."
        )


def _begun_hours(connection: Connection, destination_id: int) -> tuple[BegunHour, ...]:
    statement = (
        sa.select(delivery.c.data_type, delivery.c.hour, sa.func.count().label("files"))
        .join(delivery_file, _same_run())
        .where(_owed(destination_id), delivery.c.manual_export == AUTOMATIC)
        .group_by(delivery.c.data_type, delivery.c.hour)
        .order_by(delivery.c.hour, delivery.c.data_type)
    )
    return tuple(
        BegunHour(row.data_type, Hour(row.hour), row.files) for row in connection.execute(statement)
    )


def _same_run() -> sa.ColumnElement[bool]:
    return sa.and_(
        delivery_file.c.destination_id == delivery.c.destination_id,
        delivery_file.c.data_type == delivery.c.data_type,
        delivery_file.c.hour == delivery.c.hour,
        delivery_file.c.manual_export == delivery.c.manual_export,
    )
