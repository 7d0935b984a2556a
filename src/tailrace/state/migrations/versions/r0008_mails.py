"""Outages are kept, and so are the mails about them; room on the disk is watched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables; what is an outage now becomes the first row of `outage`."""
    _add_outages()
    _add_mails()
    op.create_table(
        "room_sample",
        sa.Column("at_micros", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("free_bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "warning",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("since_micros", sa.BigInteger, nullable=False),
        sa.Column("mailed_micros", sa.BigInteger, nullable=False),
    )


def _add_outages() -> None:
    op.create_table(
        "outage",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id"), nullable=False),
        sa.Column("began_micros", sa.BigInteger, nullable=False),
        sa.Column("ended_micros", sa.BigInteger),
        sa.Column("successes", sa.BigInteger),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("probed", sa.Boolean, nullable=False),
        sa.Column("closed_micros", sa.BigInteger),
    )
    op.create_index("outage_by_destination", "outage", ["destination_id"])
    _index_where("outage_open", "outage", ["id"], "closed_micros IS NULL")
    op.execute(
        "INSERT INTO outage (destination_id, began_micros, cause, probed)"
        " SELECT id, outage_since_micros, outage_cause, false FROM destination"
        " WHERE outage_since_micros IS NOT NULL AND outage_cause IS NOT NULL"
    )


def _add_mails() -> None:
    op.create_table(
        "mail",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("made_micros", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id")),
        sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id")),
        sa.Column("outage_id", sa.BigInteger, sa.ForeignKey("outage.id")),
        sa.Column("cause", sa.Text),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("html", sa.Text, nullable=False),
    )
    op.create_index("mail_by_destination", "mail", ["destination_id"])
    op.create_index("mail_by_outage", "mail", ["outage_id"])
    op.create_table(
        "mail_recipient",
        sa.Column(
            "mail_id",
            sa.BigInteger,
            sa.ForeignKey("mail.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("address", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("due_micros", sa.BigInteger),
        sa.Column("tried_micros", sa.BigInteger),
        sa.Column("sent_micros", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    _index_where("mail_recipient_due", "mail_recipient", ["due_micros"], "due_micros IS NOT NULL")


def _index_where(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
