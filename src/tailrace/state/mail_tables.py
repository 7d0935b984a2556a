"""The tables of outages, of the mails about them, and of room on the disk.

`tables` has them all; a test compares them with what `migrations/` makes.
"""

from __future__ import annotations

import sqlalchemy as sa

from tailrace.state.metadata import RowNumber, metadata

# Access that was refused at a destination, from the last try until it is well again and mailed.
outage = sa.Table(
    "outage",
    metadata,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id"), nullable=False),
    sa.Column("began_micros", sa.BigInteger, nullable=False),
    # When probes passed or a person mended the destination; null while access is refused.
    sa.Column("ended_micros", sa.BigInteger),
    # How many runs of the destination had succeeded by then; one more shows that all is well.
    sa.Column("successes", sa.BigInteger),
    # The newest cause that the owner of the bucket has to mend.
    sa.Column("cause", sa.Text, nullable=False),
    # Whether probes have looked for everything that is missing.
    sa.Column("probed", sa.Boolean, nullable=False),
    # Null while there may be something more to mail of it.
    sa.Column("closed_micros", sa.BigInteger),
    sa.Index("outage_by_destination", "destination_id"),
    sa.Index(
        "outage_open",
        "id",
        sqlite_where=sa.text("closed_micros IS NULL"),
        postgresql_where=sa.text("closed_micros IS NULL"),
    ),
)

# Every mail that was made, sent or not. Without an organization it is for the operator.
mail = sa.Table(
    "mail",
    metadata,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("made_micros", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id")),
    sa.Column("destination_id", sa.BigInteger, sa.ForeignKey("destination.id")),
    sa.Column("outage_id", sa.BigInteger, sa.ForeignKey("outage.id")),
    # Code and missing actions, by which causes are told apart; null where there is none.
    sa.Column("cause", sa.Text),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("html", sa.Text, nullable=False),
    sa.Index("mail_by_destination", "destination_id"),
    sa.Index("mail_by_outage", "outage_id"),
)

# To whom a mail goes, and whether it went.
mail_recipient = sa.Table(
    "mail_recipient",
    metadata,
    sa.Column(
        "mail_id", sa.BigInteger, sa.ForeignKey("mail.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    # The machine's time of the next try; null once there is none.
    sa.Column("due_micros", sa.BigInteger),
    sa.Column("tried_micros", sa.BigInteger),
    sa.Column("sent_micros", sa.BigInteger),
    sa.Column("error", sa.Text),
    sa.Index(
        "mail_recipient_due",
        "due_micros",
        sqlite_where=sa.text("due_micros IS NOT NULL"),
        postgresql_where=sa.text("due_micros IS NOT NULL"),
    ),
)

# Free bytes of the data folder's disk now and then, in the machine's time: how fast it fills.
room_sample = sa.Table(
    "room_sample",
    metadata,
    sa.Column("at_micros", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("free_bytes", sa.BigInteger, nullable=False),
)

# What the operator, and owners of buckets, were warned of; a row goes once it is clearly over.
warning = sa.Table(
    "warning",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("since_micros", sa.BigInteger, nullable=False),
    sa.Column("mailed_micros", sa.BigInteger, nullable=False),
)
