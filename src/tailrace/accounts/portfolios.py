"""Portfolio projects: views over projects of one organization, which hold nothing of their own.

Called by the command line and the pages. A portfolio project has no row among the projects, so no
key, destination, option or event can ever belong to one. `within` is the organization whose person
acts; None is the operator.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.names import checked_name
from tailrace.state.audit import SERVICE
from tailrace.state.database import next_number, reading, writing
from tailrace.state.projects import organization_of_project, projects_of_portfolio
from tailrace.state.tables import portfolio, portfolio_project

# What a page can show side by side.
PORTFOLIO_PROJECTS_MAX = 100


class Portfolio(msgspec.Struct, frozen=True):
    """A portfolio project, and the projects that it shows."""

    id: int
    organization: int
    name: str
    created_micros: int
    projects: tuple[int, ...]


def add_portfolio(
    engine: Engine,
    name: str,
    projects: Sequence[int],
    *,
    clock: Clock,
    within: int | None = None,
    by: str = SERVICE,
) -> Portfolio:
    """Add a view over projects of one organization; its ID is drawn with those of projects.

    Raise `BadRequest` for no project, one that does not exist, another portfolio project, and
    projects of several organizations.
    """
    name = checked_name(name, "portfolio project")
    with writing(engine) as connection:
        organization_id = _common_organization(connection, projects, within)
        number = next_number(connection, "project")
        trail = Trail(connection, clock.now_micros(), by)
        connection.execute(
            portfolio.insert().values(
                id=number,
                organization=organization_id,
                name=name,
                created_micros=trail.at_micros,
            )
        )
        _show(connection, number, projects)
        # A collector tells why this number is no API key.
        next_number(connection, "accounts_version")
        made = _portfolio(connection, number, within)
        detail = {"name": name, "organization": organization_id, "portfolio_of": made.projects}
        trail.note("added", f"project {number}", detail)
        return made


def change_portfolio(
    engine: Engine,
    portfolio_id: int,
    projects: Sequence[int],
    *,
    clock: Clock,
    within: int | None = None,
    by: str = SERVICE,
) -> Portfolio:
    """Let a portfolio project show other projects of its organization, and none besides.

    Raise `BadRequest` as `add_portfolio`.
    """
    with writing(engine) as connection:
        before = _portfolio(connection, portfolio_id, within)
        if _common_organization(connection, projects, within) != before.organization:
            raise BadRequest(
                f"Portfolio project {portfolio_id} can't show projects of another organization."
            )
        connection.execute(
            portfolio_project.delete().where(portfolio_project.c.portfolio == portfolio_id)
        )
        _show(connection, portfolio_id, projects)
        changed = _portfolio(connection, portfolio_id, within)
        trail = Trail(connection, clock.now_micros(), by)
        trail.note("changed", f"project {portfolio_id}", {"portfolio_of": changed.projects})
        return changed


def portfolios(engine: Engine, *, organization_id: int | None = None) -> list[Portfolio]:
    """Return the portfolio projects of one organization, or all, oldest first."""
    statement = sa.select(portfolio.c.id).order_by(portfolio.c.id)
    if organization_id is not None:
        statement = statement.where(portfolio.c.organization == organization_id)
    with reading(engine) as connection:
        numbers = connection.execute(statement).scalars().all()
        return [_portfolio(connection, number, None) for number in numbers]


def find_portfolio(engine: Engine, portfolio_id: int, *, within: int | None = None) -> Portfolio:
    """Return a portfolio project; raise `BadRequest` if there is none of that ID."""
    with reading(engine) as connection:
        return _portfolio(connection, portfolio_id, within)


def _common_organization(
    connection: Connection, projects: Sequence[int], within: int | None
) -> int:
    if not 1 <= len(set(projects)) <= PORTFOLIO_PROJECTS_MAX:
        raise BadRequest(
            f"A portfolio project shows 1 to {PORTFOLIO_PROJECTS_MAX} projects, not "
            f"{len(set(projects))}."
        )
    owners = {organization_of_project(connection, one, within=within) for one in projects}
    if len(owners) > 1:
        raise BadRequest(
            "A portfolio project can't show projects of several organizations: "
            f"{', '.join(map(str, sorted(set(projects))))} are not all of one."
        )
    return owners.pop()


def _show(connection: Connection, portfolio_id: int, projects: Sequence[int]) -> None:
    connection.execute(
        portfolio_project.insert(),
        [{"portfolio": portfolio_id, "project": one} for one in sorted(set(projects))],
    )


def _portfolio(connection: Connection, portfolio_id: int, within: int | None) -> Portfolio:
    row = connection.execute(
        sa.select(portfolio).where(portfolio.c.id == portfolio_id)
    ).one_or_none()
    if row is None or within not in (None, row.organization):
        raise BadRequest(
            f"There is no portfolio project {portfolio_id}. Use an ID that "
            '"tailrace project list" shows.'
        )
    return Portfolio(
        id=row.id,
        organization=row.organization,
        name=row.name,
        created_micros=row.created_micros,
        projects=projects_of_portfolio(connection, portfolio_id),
    )
