"""User mappings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of user mappings."""
    op.create_table(
        "user_mapping",
        sa.Column("organization", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("global_user_id", sa.Text, nullable=False),
        sa.Column("mapped_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("user_mapping_to", "user_mapping", ["organization", "global_user_id"])
