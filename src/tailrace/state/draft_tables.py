"""The table of set-ups of destinations that people have begun on the pages.

`tables` has it too; a test compares it with what `migrations/` makes.
"""

from __future__ import annotations

import sqlalchemy as sa

from tailrace.state.metadata import metadata

draft = sa.Table(
    "draft",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("project", sa.BigInteger, sa.ForeignKey("project.id"), nullable=False),
    # What was chosen and typed so far, as JSON; once there is a destination, that is what counts.
    sa.Column("choices", sa.Text, nullable=False),
    sa.Column("secret_encrypted", sa.LargeBinary),
    sa.Column("secret_set_micros", sa.BigInteger),
    sa.Column("secret_set_by", sa.Text),
    sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id")),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Column("changed_micros", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.UniqueConstraint("destination_id", name="draft_of_destination"),
    sa.Index("draft_by_project", "project"),
)
