"""`KeyBook`: which API keys are accepted, as the collector asks it.

The collector keeps what `load` returned and compares `version`, which costs one row.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from tailrace.errors import Transient
from tailrace.state.database import reading
from tailrace.state.tables import api_key, counter, portfolio, project


class KeyOwner(msgspec.Struct, frozen=True):
    """To whom the events under a key belong."""

    organization: int
    project: int


class KeyBook:
    """Read the API keys. All calls raise `Transient` when the database can't be read."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def version(self) -> int:
        """Return a number that has grown if a key was added or revoked, or a portfolio added."""
        statement = sa.select(counter.c.value).where(counter.c.name == "accounts_version")
        try:
            with reading(self.engine) as connection:
                return int(connection.execute(statement).scalar_one())
        except (DBAPIError, NoFreeConnection) as error:
            raise _unreadable() from error

    def load(self) -> dict[str, KeyOwner]:
        """Return every accepted key with its owner.

        Ask for `version` first: a change in between is then noticed the next time.
        """
        statement = (
            sa.select(api_key.c.key, project.c.organization, project.c.id)
            .join(project, project.c.id == api_key.c.project)
            .where(api_key.c.revoked_micros.is_(None))
        )
        try:
            with reading(self.engine) as connection:
                rows = connection.execute(statement)
                return {row.key: KeyOwner(row.organization, row.id) for row in rows}
        except (DBAPIError, NoFreeConnection) as error:
            raise _unreadable() from error

    def portfolios(self) -> frozenset[str]:
        """Return the IDs of portfolio projects as texts, so that one in a key's place is known."""
        try:
            with reading(self.engine) as connection:
                return frozenset(map(str, connection.execute(sa.select(portfolio.c.id)).scalars()))
        except (DBAPIError, NoFreeConnection) as error:
            raise _unreadable() from error


def _unreadable() -> Transient:
    return Transient(
        "Cannot read the API keys: the accounts' database does not answer. Requests are answered "
        "503 until it does; look for a full or failing disk."
    )
