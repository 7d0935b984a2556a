"""Set-ups of destinations that were begun on the pages are kept until they are finished."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and the counter of its numbers."""
    op.create_table(
        "draft",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("project", sa.BigInteger, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("choices", sa.Text, nullable=False),
        sa.Column("secret_encrypted", sa.LargeBinary),
        sa.Column("secret_set_micros", sa.BigInteger),
        sa.Column("secret_set_by", sa.Text),
        sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id")),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("changed_micros", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.UniqueConstraint("destination_id", name="draft_of_destination"),
    )
    op.create_index("draft_by_project", "draft", ["project"])
    counters = sa.table("counter", sa.column("name", sa.Text), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "draft", "value": 0}])
