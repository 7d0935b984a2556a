"""A run says how many of its tries were refused access, so that a restart does not forget it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a run that is being refused begins its schedule once more."""
    refusals = sa.Column("refusals", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    op.add_column("delivery", refusals)
