"""Whose a project is, for all that refers to one: keys, options, destinations.

A portfolio project is only a view; whatever names it as if it held events is refused here.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.errors import BadRequest
from tailrace.state.tables import portfolio, portfolio_project, project


def organization_of_project(
    connection: Connection, project_id: int, *, within: int | None = None
) -> int:
    """Return the organization of a project that receives events.

    `within` is the organization whose person asks; None is the operator. Raise `BadRequest` for a
    portfolio project, for no project, and in the same words for another organization's.
    """
    found = organization_or_none(connection, project_id)
    if found is None:
        refuse_portfolio(connection, project_id, within=within)
    if found is None or within not in (None, found):
        raise BadRequest(
            f"There is no project {project_id}. Use a project ID that "
            '"tailrace project list" shows, or make one with "tailrace project add".'
        )
    return found


def organization_or_none(connection: Connection, project_id: int) -> int | None:
    """Return the organization of a project that receives events; None if there is no such one."""
    return connection.execute(
        sa.select(project.c.organization).where(project.c.id == project_id)
    ).scalar_one_or_none()


def projects_within(within: int | None) -> sa.Select[tuple[int]]:
    """Return a query of the projects of an organization whose person asks; None is the operator."""
    statement = sa.select(project.c.id)
    return statement if within is None else statement.where(project.c.organization == within)


def refuse_portfolio(connection: Connection, number: int, *, within: int | None = None) -> None:
    """Raise `BadRequest` if the number is a portfolio project's; `within` as above."""
    owner = connection.execute(
        sa.select(portfolio.c.organization).where(portfolio.c.id == number)
    ).scalar_one_or_none()
    if owner is None or within not in (None, owner):
        return
    shown = ", ".join(map(str, projects_of_portfolio(connection, number)))
    raise BadRequest(
        f"Project {number} is a portfolio project, a view over other projects: it has no keys and "
        f"no options, can't receive events and can't be exported. Name a project that it shows: "
        f"{shown}."
    )


def projects_of_portfolio(connection: Connection, portfolio_id: int) -> tuple[int, ...]:
    """Return the projects that a portfolio project shows, lowest number first."""
    statement = (
        sa.select(portfolio_project.c.project)
        .where(portfolio_project.c.portfolio == portfolio_id)
        .order_by(portfolio_project.c.project)
    )
    return tuple(connection.execute(statement).scalars())
