"""Manual exports: runs and their files belong to one, or to none and are automatic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of manual exports; runs, whose key grows, are copied into new tables."""
    _create_runs()
    _copy("delivery", "delivery_new", _RUN_COLUMNS)
    _copy("delivery_file", "delivery_file_new", _FILE_COLUMNS)
    # The files refer to the runs, so they go first.
    op.drop_table("delivery_file")
    op.drop_table("delivery")
    op.rename_table("delivery_new", "delivery")
    op.rename_table("delivery_file_new", "delivery_file")
    _create_indexes()
    op.create_table(
        "manual_export",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id"), nullable=False),
        sa.Column("from_hour", sa.BigInteger, nullable=False),
        sa.Column("until_hour", sa.BigInteger, nullable=False),
        sa.Column("events_until", sa.BigInteger),
        sa.Column("merged_ids_until", sa.BigInteger),
        sa.Column("overwrite", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("finished_micros", sa.BigInteger),
    )
    op.create_index("manual_export_by_destination", "manual_export", ["destination_id"])
    op.create_index("manual_export_by_state", "manual_export", ["state"])
    counters = sa.table("counter", sa.column("name", sa.Text), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "manual_export", "value": 0}])


_RUN_COLUMNS = (
    "destination_id, data_type, hour, scope, state, due_micros, attempts, lease, upload_key, "
    "upload_id, cause, created_micros, finished_micros"
)
_FILE_COLUMNS = "destination_id, data_type, hour, number, key, how, delivered_micros"


def _create_runs() -> None:
    op.create_table(
        "delivery_new",
        sa.Column(
            "destination_id",
            sa.BigInteger,
            sa.ForeignKey("destination.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("data_type", sa.Text, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("manual_export", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("scope", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due_micros", sa.BigInteger),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.BigInteger, nullable=False),
        sa.Column("upload_key", sa.Text),
        sa.Column("upload_id", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("started_micros", sa.BigInteger),
        sa.Column("tries", sa.Text),
        sa.Column("finished_micros", sa.BigInteger),
    )
    op.create_table(
        "delivery_file_new",
        sa.Column("destination_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data_type", sa.Text, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("manual_export", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("how", sa.Text, nullable=False),
        sa.Column("delivered_micros", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["destination_id", "data_type", "hour", "manual_export"],
            [
                "delivery_new.destination_id",
                "delivery_new.data_type",
                "delivery_new.hour",
                "delivery_new.manual_export",
            ],
        ),
    )


def _copy(old: str, new: str, columns: str) -> None:
    # Every run that there is was automatic. Only names of this file go into the statement.
    op.execute(
        f"INSERT INTO {new} ({columns}, manual_export) SELECT {columns}, 0 FROM {old}"  # noqa: S608
    )


def _create_indexes() -> None:
    op.create_index("delivery_by_scope", "delivery", ["scope", "hour"])
    op.create_index("delivery_by_state", "delivery", ["state", "destination_id", "due_micros"])
    op.create_index(
        "delivery_to_claim",
        "delivery",
        ["destination_id", "manual_export", "hour", "data_type", "due_micros"],
        sqlite_where=sa.text("due_micros IS NOT NULL"),
        postgresql_where=sa.text("due_micros IS NOT NULL"),
    )
    op.create_index(
        "delivery_owed",
        "delivery",
        ["destination_id", "manual_export", "hour"],
        sqlite_where=sa.text("finished_micros IS NULL"),
        postgresql_where=sa.text("finished_micros IS NULL"),
    )
    op.create_index(
        "delivery_by_manual_export",
        "delivery",
        ["manual_export", "state", "finished_micros"],
        sqlite_where=sa.text("manual_export > 0"),
        postgresql_where=sa.text("manual_export > 0"),
    )
