"""Who is signed in on the pages, and the tokens that let the first admin in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "session",
        sa.Column("token_sha256", sa.Text, primary_key=True),
        sa.Column(
            "person",
            sa.BigInteger,
            sa.ForeignKey("person.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("organization", sa.BigInteger),
        sa.Column("password_set_micros", sa.BigInteger),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("used_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("session_by_person", "session", ["person"])
    op.create_table(
        "first_run_token",
        sa.Column("token_sha256", sa.Text, primary_key=True),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
    )
