"""Other names for organizations and projects. What was exported under a number stays under it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.accounts.projects import require_organization
from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.names import checked_name
from tailrace.state.audit import SERVICE
from tailrace.state.database import writing
from tailrace.state.projects import organization_of_project
from tailrace.state.tables import organization, project


def rename_organization(
    engine: Engine, organization_id: int, name: str, *, clock: Clock, by: str = SERVICE
) -> None:
    """Name an organization; raise `BadRequest` for an unknown one and a name that is none."""
    name = checked_name(name, "organization")
    with writing(engine) as connection:
        require_organization(connection, organization_id)
        rename(Trail(connection, clock.now_micros(), by), organization, organization_id, name)


def rename_project(
    engine: Engine,
    project_id: int,
    name: str,
    *,
    clock: Clock,
    within: int | None = None,
    by: str = SERVICE,
) -> None:
    """Name a project; raise `BadRequest` for an unknown one and a name that is none.

    `within` is the organization whose person asks; None is the operator.
    """
    name = checked_name(name, "project")
    with writing(engine) as connection:
        organization_of_project(connection, project_id, within=within)
        rename(Trail(connection, clock.now_micros(), by), project, project_id, name)


def rename(trail: Trail, table: sa.Table, number: int, name: str) -> None:
    """Write a checked name, and a note of it, if it is another one."""
    renamed = trail.connection.execute(
        table.update().where(table.c.id == number, table.c.name != name).values(name=name)
    )
    if renamed.rowcount:
        trail.note("renamed", f"{table.name} {number}", {"name": name})
