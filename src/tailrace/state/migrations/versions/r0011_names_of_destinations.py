"""Destinations have names; those that there are get one of their bucket."""

from __future__ import annotations

import itertools

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_CHARACTERS_MAX = 60


def upgrade() -> None:
    """Add the column, and give each destination a name that no other of its project has."""
    op.add_column("destination", sa.Column("name", sa.Text, nullable=False, server_default=""))
    table = sa.table(
        "destination",
        sa.column("id", sa.BigInteger),
        sa.column("project", sa.BigInteger),
        sa.column("bucket", sa.Text),
        sa.column("state", sa.Text),
        sa.column("name", sa.Text),
    )
    connection = op.get_bind()
    taken: set[tuple[int, str]] = set()
    for row in connection.execute(sa.select(table).order_by(table.c.id)).all():
        name = next(
            name for name in _names(row.bucket) if (row.project, name.casefold()) not in taken
        )
        if row.state != "deleted":
            taken.add((row.project, name.casefold()))
        connection.execute(table.update().where(table.c.id == row.id).values(name=name))


def _names(bucket: str) -> itertools.chain[str]:
    """Return the names that one at this bucket may get, the first that is free."""
    whole = f"Amazon S3 {bucket}"
    ends = (f" {number}" for number in itertools.count(2))
    numbered = (whole[: _CHARACTERS_MAX - len(end)] + end for end in ends)
    return itertools.chain((whole[:_CHARACTERS_MAX],), numbered)
