"""The rows of destinations: where a project's hours go, from which hour, and whether they do.

Called by `export` and by all that people use to change a destination. Each change is one
transaction with its entry in the audit trail and the runs that follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.state.audit import SERVICE, note
from tailrace.state.database import next_number, one_change_at_a_time, reading, writing
from tailrace.state.delivery import Capabilities, Destination
from tailrace.state.derive import derive
from tailrace.state.outages import clear_outage, send_conflicts_again
from tailrace.state.projects import organization_of_project
from tailrace.state.rows import destination_of, text_of
from tailrace.state.sharing import refuse_shared_bucket
from tailrace.state.tables import destination

_NOTHING = "it would receive nothing. Include events or merged-ids."


class NewDestination(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a destination; the fields are those of `Destination`."""

    project: int
    bucket: str
    kind: Literal["amazon-s3"] = "amazon-s3"
    region: str | None = None
    prefix: str = ""
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_encrypted: bytes | None = None
    role_arn: str | None = None
    external_id: str | None = None
    include_events: bool = True
    include_merged_ids: bool = False
    manifest: bool = True
    marker: bool = True


class Destinations:
    """Add, find and change destinations. `by` names who does so in the audit trail."""

    def __init__(self, engine: Engine, clock: Clock, *, by: str = SERVICE) -> None:
        self.engine = engine
        self.clock = clock
        self.by = by

    def add(self, new: NewDestination) -> Destination:
        """Keep a new destination as *setting up*: it exports nothing until it is activated.

        Raise `BadRequest` for an unknown or a portfolio project (R8), no data type, or a bucket
        that another organization uses (D45; that organization is not named).
        """
        if not new.include_events and not new.include_merged_ids:
            raise BadRequest(f"Cannot add {new.bucket}: {_NOTHING}")
        with self._change() as connection:
            organization = organization_of_project(connection, new.project)
            refuse_shared_bucket(connection, organization, new.bucket, new.endpoint_url)
            number = next_number(connection, "destination")
            values = msgspec.structs.asdict(new)
            connection.execute(
                destination.insert().values(
                    **values,
                    id=number,
                    organization=organization,
                    state="setting_up",
                    created_micros=self.clock.now_micros(),
                )
            )
            shown = {key: value for key, value in values.items() if key != "secret_encrypted"}
            self._note(connection, number, "added", shown)
            return _get(connection, number)

    def get(self, destination_id: int) -> Destination:
        """Return a destination; raise `BadRequest` if there is none of that number."""
        with reading(self.engine) as connection:
            return _get(connection, destination_id)

    def list(
        self, *, organization: int | None = None, project: int | None = None
    ) -> list[Destination]:
        """Return the destinations, oldest first; each filter that is given narrows them."""
        statement = sa.select(destination).order_by(destination.c.id)
        if organization is not None:
            statement = statement.where(destination.c.organization == organization)
        if project is not None:
            statement = statement.where(destination.c.project == project)
        with reading(self.engine) as connection:
            return [destination_of(row) for row in connection.execute(statement)]

    def activate(self, destination_id: int, capabilities: Capabilities) -> Destination:
        """Make a destination active whose probes have all passed; nothing else may call this.

        The first time it covers today from 00:00 UTC: hours of today that are sealed are owed at
        once (D19), and with merged IDs all hours since the organization's first merge (D39).
        Later it keeps its interval, so hours missed while it was paused are owed. An outage ends,
        and runs in conflict are tried once more: a person has been at the bucket.
        """
        with self._change() as connection:
            before = _get(connection, destination_id)
            refuse_shared_bucket(
                connection, before.organization, before.bucket, before.endpoint_url
            )
            today = Hour.of_micros(self.clock.now_micros()).day_start()
            first = before.from_hour or today
            _set(
                connection,
                destination_id,
                state="active",
                from_hour=first.number,
                capabilities=text_of(capabilities),
            )
            clear_outage(connection, destination_id)
            send_conflicts_again(connection, destination_id)
            self._derive(connection, destination_id)
            seen = msgspec.structs.asdict(capabilities)
            self._note(connection, destination_id, "activated", {"from_hour": str(first), **seen})
            return _get(connection, destination_id)

    def pause(self, destination_id: int) -> Destination:
        """Stop an active destination: what it owes stays owed, and no run of it is taken."""
        with self._change() as connection:
            before = _get(connection, destination_id)
            if before.state != "active":
                raise BadRequest(
                    f"Cannot pause destination {destination_id}: it is {before.state}, not active."
                )
            _set(connection, destination_id, state="paused")
            self._note(connection, destination_id, "paused", {})
            return _get(connection, destination_id)

    def set_interval(
        self, destination_id: int, from_hour: Hour, until_hour: Hour | None
    ) -> Destination:
        """Choose the hours `[from_hour, until_hour)`; runs that exist stay as they are."""
        if until_hour is not None and until_hour < from_hour:
            raise BadRequest(
                f"Cannot end destination {destination_id} at {until_hour}: "
                f"that is before its first hour {from_hour}."
            )
        until = None if until_hour is None else until_hour.number
        with self._change() as connection:
            _get(connection, destination_id)
            _set(connection, destination_id, from_hour=from_hour.number, until_hour=until)
            self._derive(connection, destination_id)
            detail = {"from_hour": str(from_hour), "until_hour": until_hour and str(until_hour)}
            self._note(connection, destination_id, "interval set", detail)
            return _get(connection, destination_id)

    def include(self, destination_id: int, *, events: bool, merged_ids: bool) -> Destination:
        """Choose what a destination receives; what follows is owed at once.

        Events from the destination's first hour on, merged IDs from the organization's first merge
        on (D39). Runs that exist stay as they are. Raise `BadRequest` where it would get nothing.
        """
        if not events and not merged_ids:
            raise BadRequest(f"Cannot change destination {destination_id}: {_NOTHING}")
        with self._change() as connection:
            _get(connection, destination_id)
            chosen = {"include_events": events, "include_merged_ids": merged_ids}
            _set(connection, destination_id, **chosen)
            self._derive(connection, destination_id)
            self._note(connection, destination_id, "data types chosen", chosen)
            return _get(connection, destination_id)

    def start_all_from(self, first: Hour) -> None:
        """Let every active destination cover the hours from `first`, without an end.

        For a folder whose clock is fixed at its first start: until then "today" was another day.
        """
        for found in self.list():
            if found.state == "active" and found.from_hour != first:
                self.set_interval(found.id, first, None)

    def set_region(self, destination_id: int, region: str) -> Destination:
        """Keep the region in which a person found the bucket; nothing else changes it."""
        with self._change() as connection:
            before = _get(connection, destination_id)
            if before.region == region:
                return before
            _set(connection, destination_id, region=region)
            self._note(
                connection, destination_id, "region set", {"region": region, "was": before.region}
            )
            return _get(connection, destination_id)

    def set_capabilities(self, destination_id: int, capabilities: Capabilities) -> Destination:
        """Store what the bucket's store was last seen to do."""
        with self._change() as connection:
            _get(connection, destination_id)
            _set(connection, destination_id, capabilities=text_of(capabilities))
            seen = msgspec.structs.asdict(capabilities)
            self._note(connection, destination_id, "capabilities set", seen)
            return _get(connection, destination_id)

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        with writing(self.engine) as connection:
            one_change_at_a_time(connection)
            yield connection

    def _derive(self, connection: Connection, destination_id: int) -> None:
        derive(connection, now_micros=self.clock.now_micros(), destination_id=destination_id)

    def _note(
        self, connection: Connection, destination_id: int, what: str, detail: dict[str, Any]
    ) -> None:
        note(
            connection,
            at_micros=self.clock.now_micros(),
            who=self.by,
            what=what,
            changed=f"destination {destination_id}",
            detail=detail,
        )


def _get(connection: Connection, destination_id: int) -> Destination:
    row = connection.execute(
        sa.select(destination).where(destination.c.id == destination_id)
    ).one_or_none()
    if row is None:
        raise BadRequest(
            f'There is no destination {destination_id}. List them with "tailrace destination list".'
        )
    return destination_of(row)


def _set(connection: Connection, destination_id: int, **values: Any) -> None:
    connection.execute(
        destination.update().where(destination.c.id == destination_id).values(**values)
    )
