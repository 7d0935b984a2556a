"""Options of projects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of how projects' lines are to be; without a row they are as before."""
    op.create_table(
        "project_options",
        sa.Column(
            "project",
            sa.BigInteger,
            sa.ForeignKey("project.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("schema_number", sa.BigInteger),
        sa.Column("extended_columns", sa.Boolean, nullable=False),
        sa.Column("drop_ip", sa.Boolean, nullable=False),
        sa.Column("drop_location", sa.Boolean, nullable=False),
    )
