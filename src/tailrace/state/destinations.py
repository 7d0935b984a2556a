"""The rows of destinations: where a project's hours go, from which hour, and whether they do.

Called by `export` and by all that people use to change a destination. Each change is one
transaction with its entry in the audit trail and the runs that follow from it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.errors import BadRequest
from tailrace.hours import Hour
from tailrace.state.database import next_number, reading
from tailrace.state.delivery import (
    LIVING_STATES,
    Capabilities,
    Destination,
    DestinationState,
    Encryption,
)
from tailrace.state.destination_book import set_values
from tailrace.state.drafts import attach, follow, require_open
from tailrace.state.editing import Editing
from tailrace.state.naming import Naming, checked_name, free_name
from tailrace.state.projects import organization_of_project
from tailrace.state.rows import destination_of, text_of
from tailrace.state.sharing import refuse_shared_bucket
from tailrace.state.switching import Switching
from tailrace.state.tables import destination
from tailrace.state.trying import Trying

_NOTHING = "it would receive nothing. Include events or merged-ids."


class NewDestination(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a destination; the fields are those of `Destination`.

    Without a `name` it gets the one that is offered for the project's next destination.
    """

    project: int
    bucket: str
    name: str | None = None
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
    encryption: Encryption | None = None
    kms_key_arn: str | None = None


class Destinations(Naming, Switching, Editing, Trying):
    """Add, find and change destinations. `by` names who does so in the audit trail.

    To `within`, an organization whose person acts, those of others and their projects do not exist.
    """

    def add(
        self, new: NewDestination, *, draft: int | None = None, draft_seen: str = ""
    ) -> Destination:
        """Keep a new destination as *setting up*: it exports nothing until it is activated.

        `draft` is the set-up on the pages that becomes it, in the same transaction, as long as it
        is of the version `draft_seen` (empty: of any). Raise `BadRequest` where it is not, for an
        unknown or a portfolio project (R8), a name that it can't have, no data type, or a bucket
        to which another organization exports (D45; that organization is not named).
        """
        if not new.include_events and not new.include_merged_ids:
            raise BadRequest(f"Cannot add {new.bucket}: {_NOTHING}")
        with self._change() as connection:
            organization = organization_of_project(connection, new.project, within=self.within)
            if draft is not None:
                # Whoever was quicker has given its name away as well, which is not the trouble.
                require_open(connection, draft, new.project, draft_seen)
            name = _name_of(connection, new)
            refuse_shared_bucket(connection, organization, new.bucket, new.endpoint_url)
            number = next_number(connection, "destination")
            values = msgspec.structs.asdict(new) | {"name": name}
            connection.execute(
                destination.insert().values(
                    **values,
                    id=number,
                    organization=organization,
                    state="setting_up",
                    created_micros=self.clock.now_micros(),
                )
            )
            if draft is not None:
                attach(connection, draft, new.project, number)
            shown = {key: value for key, value in values.items() if key != "secret_encrypted"}
            self._note(connection, number, "added", shown)
            return self._find(connection, number)

    def get(self, destination_id: int) -> Destination:
        """Return a destination; raise `BadRequest` if there is none of that number."""
        with reading(self.engine) as connection:
            return self._find(connection, destination_id)

    def list(
        self,
        *,
        organization: int | None = None,
        project: int | None = None,
        states: tuple[DestinationState, ...] = LIVING_STATES,
    ) -> list[Destination]:
        """Return the destinations, oldest first; each filter that is given narrows them.

        Deleted ones only where `states` names them.
        """
        statement = (
            sa.select(destination).where(destination.c.state.in_(states)).order_by(destination.c.id)
        )
        if self.within is not None:
            statement = statement.where(destination.c.organization == self.within)
        if organization is not None:
            statement = statement.where(destination.c.organization == organization)
        if project is not None:
            statement = statement.where(destination.c.project == project)
        with reading(self.engine) as connection:
            return [destination_of(row) for row in connection.execute(statement)]

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
            self._find_living(connection, destination_id, "change")
            set_values(connection, destination_id, from_hour=from_hour.number, until_hour=until)
            self._derive(connection, destination_id)
            detail = {"from_hour": str(from_hour), "until_hour": until_hour and str(until_hour)}
            self._note(connection, destination_id, "interval set", detail)
            return self._find(connection, destination_id)

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
            before = self._find_living(connection, destination_id, "change")
            if before.region == region:
                return before
            set_values(connection, destination_id, region=region)
            self._note(
                connection, destination_id, "region set", {"region": region, "was": before.region}
            )
            after = self._find(connection, destination_id)
            now = self.clock.now_micros()
            follow(connection, after, {"region": region}, at_micros=now, by=self.by)
            return after

    def set_capabilities(self, destination_id: int, capabilities: Capabilities) -> Destination:
        """Store what the bucket's store was last seen to do."""
        with self._change() as connection:
            self._find_living(connection, destination_id, "change")
            set_values(connection, destination_id, capabilities=text_of(capabilities))
            seen = msgspec.structs.asdict(capabilities)
            self._note(connection, destination_id, "capabilities set", seen)
            return self._find(connection, destination_id)


def _name_of(connection: Connection, new: NewDestination) -> str:
    if new.name is None:
        return free_name(connection, new.project)
    return checked_name(connection, new.project, new.name)
