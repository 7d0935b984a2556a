"""People choose their password by a link, which an admin of theirs or the operator makes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of links, and whose link a password was chosen by: so far nobody's."""
    op.create_table(
        "sign_in_link",
        sa.Column(
            "person",
            sa.BigInteger,
            sa.ForeignKey("person.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("token_sha256", sa.Text, nullable=False),
        sa.Column("organization", sa.BigInteger),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("ends_micros", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("token_sha256", name="sign_in_link_of_token"),
    )
    op.add_column("person", sa.Column("password_organization", sa.BigInteger))
