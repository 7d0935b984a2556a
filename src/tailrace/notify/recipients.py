"""To whom mails go: an organization's admins and who created the destination, or the operator."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from tailrace.accounts.recipients import recipients
from tailrace.state.audit import creator
from tailrace.state.delivery import Destination


def of_destination(
    connection: Connection, destination: Destination, operator: tuple[str, ...]
) -> tuple[str, ...]:
    """Return who is told of a destination's outage; the operator where that would be nobody."""
    by = creator(connection, f"destination {destination.id}")
    return recipients(connection, destination.organization, created_by=by) or operator
