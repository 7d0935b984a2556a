"""The tables of accounts, destinations and the ledger, for SQLite and PostgreSQL alike.

Every time is a BIGINT of microseconds since the epoch, every hour a BIGINT of whole hours since
1970. `migrations/` makes them; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

from tailrace.state.draft_tables import draft as draft
from tailrace.state.mail_tables import mail as mail
from tailrace.state.mail_tables import mail_recipient as mail_recipient
from tailrace.state.mail_tables import outage as outage
from tailrace.state.mail_tables import room_sample as room_sample
from tailrace.state.mail_tables import warning as warning
from tailrace.state.metadata import RowNumber
from tailrace.state.metadata import metadata as metadata
from tailrace.state.sign_in_tables import first_run_token as first_run_token
from tailrace.state.sign_in_tables import session as session
from tailrace.state.sign_in_tables import sign_in_link as sign_in_link

# Numbers that only grow and are never used twice, also after a row is gone. Rows, made by the
# first revision: organization, project, destination, accounts_version; and manual_export, person,
# draft.
counter = sa.Table(
    "counter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

organization = sa.Table(
    "organization",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
)

project = sa.Table(
    "project",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_key_sha256", sa.Text, nullable=False),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Index("project_by_organization", "organization"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("project", sa.BigInteger, sa.ForeignKey("project.id"), nullable=False),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Column("revoked_micros", sa.BigInteger),
    # What people know it by; null without one.
    sa.Column("name", sa.Text),
    sa.Index("api_key_by_project", "project"),
)

# A portfolio project. Its number is drawn with those of projects, but it has no row among them:
# no key, destination or option can refer to it.
portfolio = sa.Table(
    "portfolio",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Index("portfolio_by_organization", "organization"),
)

# Which projects a portfolio project shows.
portfolio_project = sa.Table(
    "portfolio_project",
    metadata,
    sa.Column(
        "portfolio",
        sa.BigInteger,
        sa.ForeignKey("portfolio.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column(
        "project",
        sa.BigInteger,
        sa.ForeignKey("project.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Index("portfolio_project_by_project", "project"),
)

# The account of an e-mail address, in whatever organizations its owner is.
person = sa.Table(
    "person",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("email_folded", sa.Text, nullable=False),
    # By argon2; null for who can't sign in yet.
    sa.Column("password_hash", sa.Text),
    sa.Column("password_set_micros", sa.BigInteger),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    # By whose link it was chosen: that one's admins may know it. Null where the operator's command
    # set it.
    sa.Column("password_organization", sa.BigInteger),
    sa.UniqueConstraint("email_folded", name="person_of_email"),
)

membership = sa.Table(
    "membership",
    metadata,
    sa.Column(
        "organization",
        sa.BigInteger,
        sa.ForeignKey("organization.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column(
        "person", sa.BigInteger, sa.ForeignKey("person.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("name", sa.Text),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Index("membership_by_person", "person"),
)

# How a project's lines are made; without a row as by default.
project_options = sa.Table(
    "project_options",
    metadata,
    sa.Column(
        "project",
        sa.BigInteger,
        sa.ForeignKey("project.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("schema_number", sa.BigInteger),
    sa.Column("extended_columns", sa.Boolean, nullable=False),
    sa.Column("drop_ip", sa.Boolean, nullable=False),
    sa.Column("drop_location", sa.Boolean, nullable=False),
    sa.Column("drop_bots", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("keep_advertising_ids", sa.Boolean, nullable=False, server_default=sa.false()),
)

# Which user is also which global user; nothing that is exported depends on it.
user_mapping = sa.Table(
    "user_mapping",
    metadata,
    sa.Column("organization", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("global_user_id", sa.Text, nullable=False),
    sa.Column("mapped_micros", sa.BigInteger, nullable=False),
    sa.Index("user_mapping_to", "organization", "global_user_id"),
)

destination = sa.Table(
    "destination",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("project", sa.BigInteger, sa.ForeignKey("project.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    # Empty only until the migration that made the column had named those that there were.
    sa.Column("name", sa.Text, nullable=False, server_default=""),
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
    sa.Column("paused_micros", sa.BigInteger),
    sa.Column("deleted_micros", sa.BigInteger),
    # The machine's time until which no run is taken and those in work let go, for an edit.
    sa.Column("held_until_micros", sa.BigInteger),
    # `x-amz-server-side-encryption` of each object; without: none, the bucket's default applies.
    sa.Column("encryption", sa.Text),
    sa.Column("kms_key_arn", sa.Text),
    sa.Index("destination_by_bucket", "bucket"),
    sa.Index("destination_by_project", "project"),
)

# Where a destination's objects went before it was given another bucket, prefix or store.
earlier_place = sa.Table(
    "earlier_place",
    metadata,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id"), nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("endpoint_url", sa.Text),
    sa.Column("until_micros", sa.BigInteger, nullable=False),
    sa.Index("earlier_place_by_destination", "destination_id"),
)

sealed_hour = sa.Table(
    "sealed_hour",
    metadata,
    sa.Column("scope", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("organization", sa.BigInteger, nullable=False),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("files", sa.BigInteger, nullable=False),
    sa.Column("handed_over_micros", sa.BigInteger, nullable=False),
    sa.Index("sealed_hour_by_hour", "hour", "scope"),
)

sealed_file = sa.Table(
    "sealed_file",
    metadata,
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
    # When the archive was told that it may drop its copy; everything owed had been delivered.
    sa.Column("removed_micros", sa.BigInteger),
    sa.Index("sealed_file_by_hour", "hour", "scope"),
)

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column(
        "destination_id",
        sa.BigInteger,
        sa.ForeignKey("destination.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("data_type", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    # The manual export that owes the run; 0 for an automatic one.
    sa.Column("manual_export", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("scope", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    # The machine's time from which a worker may take the row: at once (0), at the next try, or
    # when the present holder's lease has run out. Null: nobody may take it.
    sa.Column("due_micros", sa.BigInteger),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    # Of these, those whose access was refused.
    sa.Column("refusals", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("lease", sa.BigInteger, nullable=False),
    sa.Column("upload_key", sa.Text),
    sa.Column("upload_id", sa.Text),
    sa.Column("cause", sa.Text),
    # The cause's code if it is a fault of the operator's; null for every other cause.
    sa.Column("fault_code", sa.Text),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    # When the newest try began, and the last of those that ended, as JSON.
    sa.Column("started_micros", sa.BigInteger),
    sa.Column("tries", sa.Text),
    sa.Column("finished_micros", sa.BigInteger),
    sa.Index("delivery_by_scope", "scope", "hour"),
    sa.Index("delivery_by_state", "state", "destination_id", "due_micros"),
    # Holds only the rows that can be taken, so that claiming costs the same whatever lies behind.
    sa.Index(
        "delivery_to_claim",
        "destination_id",
        "manual_export",
        "hour",
        "data_type",
        "due_micros",
        sqlite_where=sa.text("due_micros IS NOT NULL"),
        postgresql_where=sa.text("due_micros IS NOT NULL"),
    ),
    # The same for "the oldest hour that is owed".
    sa.Index(
        "delivery_owed",
        "destination_id",
        "manual_export",
        "hour",
        sqlite_where=sa.text("finished_micros IS NULL"),
        postgresql_where=sa.text("finished_micros IS NULL"),
    ),
    # For faults of the operator's, whatever else waits.
    sa.Index(
        "delivery_faulty",
        "state",
        "fault_code",
        "destination_id",
        "hour",
        "attempts",
        sqlite_where=sa.text("fault_code IS NOT NULL"),
        postgresql_where=sa.text("fault_code IS NOT NULL"),
    ),
    # And for how far a manual export is.
    sa.Index(
        "delivery_by_manual_export",
        "manual_export",
        "state",
        "finished_micros",
        sqlite_where=sa.text("manual_export > 0"),
        postgresql_where=sa.text("manual_export > 0"),
    ),
)

delivery_file = sa.Table(
    "delivery_file",
    metadata,
    sa.Column("destination_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("data_type", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("manual_export", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, nullable=False),
    # "put", "found" where our bytes already lay in the bucket, or "replaced" where other ones did.
    sa.Column("how", sa.Text, nullable=False),
    sa.Column("delivered_micros", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(
        ["destination_id", "data_type", "hour", "manual_export"],
        [
            "delivery.destination_id",
            "delivery.data_type",
            "delivery.hour",
            "delivery.manual_export",
        ],
    ),
)

# What a person asked to export of the past; its runs are rows of `delivery`.
manual_export = sa.Table(
    "manual_export",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id"), nullable=False),
    # As it was asked for; `until_hour` is the first hour that is left out.
    sa.Column("from_hour", sa.BigInteger, nullable=False),
    sa.Column("until_hour", sa.BigInteger, nullable=False),
    # Where it ends for a data type, because later hours were not sealed when it was started. Null:
    # without that data type.
    sa.Column("events_until", sa.BigInteger),
    sa.Column("merged_ids_until", sa.BigInteger),
    sa.Column("overwrite", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Column("finished_micros", sa.BigInteger),
    sa.Index("manual_export_by_destination", "destination_id"),
    sa.Index("manual_export_by_state", "state"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("at_micros", sa.BigInteger, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("audit_by_object", "object"),
)
