"""A run says by which fault of the operator's it is kept back, so that no other cause hides it."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_RUN = ("destination_id", "data_type", "hour", "manual_export")


def upgrade() -> None:
    """Add the column with its index, and fill it for the runs whose cause is such a fault."""
    op.add_column("delivery", sa.Column("fault_code", sa.Text))
    table = sa.table(
        "delivery",
        *(sa.column(name) for name in _RUN),
        sa.column("cause", sa.Text),
        sa.column("fault_code", sa.Text),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(table).where(table.c.cause.is_not(None))).all():
        cause = json.loads(row.cause)
        if cause["kind"] == "operator":
            of_run = [table.c[name] == getattr(row, name) for name in _RUN]
            connection.execute(table.update().where(*of_run).values(fault_code=cause["code"]))
    op.create_index(
        "delivery_faulty",
        "delivery",
        ["state", "fault_code", "destination_id", "hour", "attempts"],
        sqlite_where=sa.text("fault_code IS NOT NULL"),
        postgresql_where=sa.text("fault_code IS NOT NULL"),
    )
