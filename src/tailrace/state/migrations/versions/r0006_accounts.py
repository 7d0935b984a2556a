"""People with their roles, portfolio projects, and names of API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; the address that an organization had becomes its first admin."""
    op.create_table(
        "person",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_folded", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("password_set_micros", sa.BigInteger),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("email_folded", name="person_of_email"),
    )
    op.create_table(
        "membership",
        sa.Column(
            "organization",
            sa.BigInteger,
            sa.ForeignKey("organization.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column(
            "person",
            sa.BigInteger,
            sa.ForeignKey("person.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("name", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("membership_by_person", "membership", ["person"])
    op.create_table(
        "portfolio",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("organization", sa.BigInteger, sa.ForeignKey("organization.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("portfolio_by_organization", "portfolio", ["organization"])
    op.create_table(
        "portfolio_project",
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
    )
    op.create_index("portfolio_project_by_project", "portfolio_project", ["project"])
    op.add_column("api_key", sa.Column("name", sa.Text))
    _move_admins()
    op.drop_column("organization", "admin_email")


def _move_admins() -> None:
    connection = op.get_bind()
    organization, person, membership, counter = (
        sa.table(name, *map(sa.column, columns)) for name, columns in _COLUMNS.items()
    )
    numbers: dict[str, int] = {}
    rows = connection.execute(
        sa.select(organization)
        .where(organization.c.admin_email.is_not(None))
        .order_by(organization.c.id)
    ).all()
    for row in rows:
        email = row.admin_email.strip()
        # Where several organizations had the same address, it is one account.
        number = numbers.get(email.casefold())
        if number is None:
            number = numbers[email.casefold()] = len(numbers) + 1
            connection.execute(
                person.insert().values(
                    id=number,
                    email=email,
                    email_folded=email.casefold(),
                    created_micros=row.created_micros,
                )
            )
        connection.execute(
            membership.insert().values(
                organization=row.id,
                person=number,
                role="admin",
                created_micros=row.created_micros,
            )
        )
    connection.execute(counter.insert().values(name="person", value=len(numbers)))


_COLUMNS = {
    "organization": ("id", "admin_email", "created_micros"),
    "person": ("id", "email", "email_folded", "created_micros"),
    "membership": ("organization", "person", "role", "created_micros"),
    "counter": ("name", "value"),
}
