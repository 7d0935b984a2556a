"""Destinations are paused, moved and deleted; what they were before is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add when a destination was paused, deleted and held, and its earlier places."""
    for name in ("paused_micros", "deleted_micros", "held_until_micros"):
        op.add_column("destination", sa.Column(name, sa.BigInteger))
    op.create_table(
        "earlier_place",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
        ),
        sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id"), nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("endpoint_url", sa.Text),
        sa.Column("until_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("earlier_place_by_destination", "earlier_place", ["destination_id"])
