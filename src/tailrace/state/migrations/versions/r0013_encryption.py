"""A destination says with which encryption its objects are put; none said: the bucket's default."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what is there goes on with the bucket's default."""
    op.add_column("destination", sa.Column("encryption", sa.Text))
    op.add_column("destination", sa.Column("kms_key_arn", sa.Text))
