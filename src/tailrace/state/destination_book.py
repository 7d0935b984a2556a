"""`DestinationBook`: what each part of the destinations' rows is made with.

The runs that follow from a change are made in its transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.errors import BadRequest
from tailrace.state.audited import Audited
from tailrace.state.delivery import Capabilities, Destination
from tailrace.state.derive import derive
from tailrace.state.destination_fields import PROBED
from tailrace.state.outages import clear_outage, send_troubled_again
from tailrace.state.rows import destination_of, text_of
from tailrace.state.tables import destination


class DestinationBook(Audited):
    """Destinations, as each part of what changes them sees them."""

    KIND = "destination"

    def _find(self, connection: Connection, destination_id: int) -> Destination:
        return find_destination(connection, destination_id, within=self.within)

    def _find_living(self, connection: Connection, destination_id: int, verb: str) -> Destination:
        return find_living(connection, destination_id, verb, within=self.within)

    def _derive(self, connection: Connection, destination_id: int) -> None:
        derive(connection, now_micros=self.clock.now_micros(), destination_id=destination_id)

    def _note_access(
        self, connection: Connection, destination_id: int, capabilities: Capabilities
    ) -> None:
        """Keep what the probes found the store to do; an outage ends, and what waits is due."""
        set_values(connection, destination_id, capabilities=text_of(capabilities))
        clear_outage(connection, destination_id, self.clock.now_micros())
        send_troubled_again(connection, destination_id)


def find_destination(
    connection: Connection, destination_id: int, *, within: int | None = None
) -> Destination:
    """Return a destination, also a deleted one.

    `within` is the organization whose person asks; None is the operator. Raise `BadRequest` if
    there never was one, and in the same words for another organization's.
    """
    row = connection.execute(
        sa.select(destination).where(destination.c.id == destination_id)
    ).one_or_none()
    if row is None or within not in (None, row.organization):
        raise BadRequest(
            f'There is no destination {destination_id}. List them with "tailrace destination list".'
        )
    return destination_of(row)


def find_living(
    connection: Connection, destination_id: int, verb: str, *, within: int | None = None
) -> Destination:
    """Return a destination that is to be changed; raise `BadRequest` for one that is deleted.

    For the rest as `find_destination`.
    """
    found = find_destination(connection, destination_id, within=within)
    if found.state == "deleted":
        raise BadRequest(
            f"Cannot {verb} destination {destination_id}: it is deleted. Its history stays; add a "
            "new destination."
        )
    return found


def refuse_changed(now: Destination, seen: Destination, setting: Collection[str] = ()) -> None:
    """Raise `BadRequest` unless a destination is still what was seen and probed of it.

    The fields that are about to be set are compared too: nobody else's choice is overwritten.
    """
    compared = ("state", *PROBED, *setting)
    if any(getattr(now, name) != getattr(seen, name) for name in compared):
        raise BadRequest(
            f"Cannot change destination {now.id}: someone else has changed it meanwhile. "
            f'Look at it with "tailrace destination show {now.id}", and try again.'
        )


def set_values(connection: Connection, destination_id: int, **values: Any) -> None:
    """Write columns of a destination."""
    connection.execute(
        destination.update().where(destination.c.id == destination_id).values(**values)
    )
