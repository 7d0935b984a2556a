"""Two more options of projects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is to become of bots and of advertising ids; until it is chosen, as before."""
    for name in ("drop_bots", "keep_advertising_ids"):
        column = sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
        op.add_column("project_options", column)
