"""The tables of what lets people in: sessions, and links to choose a password by.

`tables` has them all; a test compares them with what `migrations/` makes.
"""

from __future__ import annotations

import sqlalchemy as sa

from tailrace.state.metadata import metadata

# Who is signed in on the pages. Its times are the machine's, since cookies follow that clock.
session = sa.Table(
    "session",
    metadata,
    # The token itself is in the browser's cookie alone.
    sa.Column("token_sha256", sa.Text, primary_key=True),
    sa.Column(
        "person", sa.BigInteger, sa.ForeignKey("person.id", ondelete="CASCADE"), nullable=False
    ),
    # Which of their organizations was shown last.
    sa.Column("organization", sa.BigInteger),
    # The account's when it was signed in: with another password the session is no longer one.
    sa.Column("password_set_micros", sa.BigInteger),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
    sa.Column("used_micros", sa.BigInteger, nullable=False),
    sa.Index("session_by_person", "person"),
)

# Lets a person choose a password, once; a newer one of theirs takes the place of an older one.
sign_in_link = sa.Table(
    "sign_in_link",
    metadata,
    sa.Column(
        "person",
        sa.BigInteger,
        sa.ForeignKey("person.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # The token itself is in the link alone.
    sa.Column("token_sha256", sa.Text, nullable=False),
    # Whose admin made it; null for the operator.
    sa.Column("organization", sa.BigInteger),
    sa.Column("made_by", sa.Text, nullable=False),
    # The machine's time, since the link is about people and not about hours.
    sa.Column("ends_micros", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("token_sha256", name="sign_in_link_of_token"),
)

# Lets whoever reads the terminal make the first admin; empty once there is one.
first_run_token = sa.Table(
    "first_run_token",
    metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True),
    sa.Column("created_micros", sa.BigInteger, nullable=False),
)
