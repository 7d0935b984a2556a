"""Who gets an organization's mails: its admins, and who created what a mail is about (D20)."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from tailrace.accounts.addresses import folded
from tailrace.accounts.membership import members


def recipients(
    connection: Connection, organization_id: int, *, created_by: str | None = None
) -> tuple[str, ...]:
    """Return the addresses of an organization's admins, and of the creator, each once, sorted.

    `created_by` is who the audit trail names: a person's address, or another word, such as that
    of the command line, which is nobody's. A creator who has left the organization gets nothing.
    """
    creator = None if created_by is None else folded(created_by)
    return tuple(
        one.email
        for one in members(connection, organization_id)
        if one.role == "admin" or folded(one.email) == creator
    )
