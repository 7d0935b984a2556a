"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of accounts, destinations and the ledger, and start the counters."""
    row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "counter",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "organization",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("admin_email", sa.Text),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_key_sha256", sa.Text, nullable=False),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("project_by_organization", "project", ["organization"])
    op.create_table(
        "api_key",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("project", sa.BigInteger, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("revoked_micros", sa.BigInteger),
    )
    op.create_index("api_key_by_project", "api_key", ["project"])
    op.create_table(
        "destination",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id"), nullable=False),
        sa.Column("project", sa.BigInteger, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("region", sa.Text),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("endpoint_url", sa.Text),
        sa.Column("access_key_id", sa.Text),
        sa.Column("secret_encrypted", sa.LargeBinary),
        sa.Column("role_arn", sa.Text),
        sa.Column("external_id", sa.Text),
        sa.Column("include_events", sa.Boolean, nullable=False),
        sa.Column("include_merged_ids", sa.Boolean, nullable=False),
        sa.Column("manifest", sa.Boolean, nullable=False),
        sa.Column("marker", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("from_hour", sa.BigInteger),
        sa.Column("until_hour", sa.BigInteger),
        sa.Column("capabilities", sa.Text),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("outage_since_micros", sa.BigInteger),
        sa.Column("outage_cause", sa.Text),
        sa.Column("next_probe_micros", sa.BigInteger),
    )
    op.create_index("destination_by_bucket", "destination", ["bucket"])
    op.create_index("destination_by_project", "destination", ["project"])
    op.create_table(
        "sealed_hour",
        sa.Column("scope", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("organization", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.Column("handed_over_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("sealed_hour_by_hour", "sealed_hour", ["hour", "scope"])
    op.create_table(
        "sealed_file",
        sa.Column("scope", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("organization", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("crc32", sa.BigInteger, nullable=False),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.Column("raw_bytes", sa.BigInteger, nullable=False),
        sa.Column("handed_over_micros", sa.BigInteger, nullable=False),
        sa.Column("removed_micros", sa.BigInteger),
    )
    op.create_index("sealed_file_by_hour", "sealed_file", ["hour", "scope"])
    op.create_table(
        "delivery",
        sa.Column(
            "destination_id",
            sa.BigInteger,
            sa.ForeignKey("destination.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("data_type", sa.Text, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("scope", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due_micros", sa.BigInteger),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.BigInteger, nullable=False),
        sa.Column("upload_key", sa.Text),
        sa.Column("upload_id", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.Column("finished_micros", sa.BigInteger),
    )
    op.create_index(
        "delivery_to_claim",
        "delivery",
        ["destination_id", "hour", "data_type", "due_micros"],
        sqlite_where=sa.text("due_micros IS NOT NULL"),
        postgresql_where=sa.text("due_micros IS NOT NULL"),
    )
    op.create_index(
        "delivery_owed",
        "delivery",
        ["destination_id", "hour"],
        sqlite_where=sa.text("finished_micros IS NULL"),
        postgresql_where=sa.text("finished_micros IS NULL"),
    )
    op.create_index("delivery_by_scope", "delivery", ["scope", "hour"])
    op.create_index("delivery_by_state", "delivery", ["state", "destination_id", "due_micros"])
    op.create_table(
        "delivery_file",
        sa.Column("destination_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data_type", sa.Text, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("how", sa.Text, nullable=False),
        sa.Column("delivered_micros", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["destination_id", "data_type", "hour"],
            ["delivery.destination_id", "delivery.data_type", "delivery.hour"],
        ),
    )
    op.create_table(
        "audit",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("at_micros", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("audit_by_object", "audit", ["object"])
    counters = sa.table("counter", sa.column("name", sa.Text), sa.column("value", sa.BigInteger))
    op.bulk_insert(
        counters,
        [
            {"name": "organization", "value": 100_000},
            {"name": "project", "value": 300_000},
            {"name": "destination", "value": 0},
            {"name": "accounts_version", "value": 0},
        ],
    )
