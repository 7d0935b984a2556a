"""`organization add` and `organization list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli.opened import COMMAND_LINE, open_accounts
from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    print_json,
    print_lines,
    print_table,
)
from tailrace.cli.times import time_text

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

organization_app = typer.Typer(
    help="Organizations; none sees anything of another.", no_args_is_help=True
)


class _Shown(msgspec.Struct, frozen=True):
    """An organization as scripts read it."""

    org_id: int
    name: str
    projects: int
    people: int
    created_at: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    organization_app.command("add")(_add)
    organization_app.command("list")(_list)
    app.add_typer(organization_app, name="organization")


def _add(
    name: Annotated[str, typer.Option(help="Name of the organization.")],
    data: DataOption = DATA_DEFAULT,
    email: Annotated[str, typer.Option(help="Address of its first admin.")] = "",
    json: JsonOption = False,
) -> None:
    """Add an organization; its projects and people are added next."""
    from tailrace.accounts.projects import add_organization

    with open_accounts(data) as (engine, clock):
        number = add_organization(engine, name, admin_email=email, clock=clock, by=COMMAND_LINE)
        (shown,) = [one for one in _shown(engine) if one.org_id == number]
    if json:
        print_json(shown)
    else:
        print_lines([f"organization  {shown.org_id}   {shown.name}"])


def _list(data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> None:
    """List the organizations."""
    with open_accounts(data) as (engine, _):
        shown = _shown(engine)
    if json:
        print_json(shown)
        return
    print_table(
        ("id", "name", "projects", "people", "created"),
        [(one.org_id, one.name, one.projects, one.people, one.created_at) for one in shown],
    )


def _shown(engine: Engine) -> list[_Shown]:
    from tailrace.accounts.people import people
    from tailrace.accounts.projects import organizations, projects

    return [
        _Shown(
            org_id=one.id,
            name=one.name,
            projects=len(projects(engine, organization_id=one.id)),
            people=len(people(engine, one.id)),
            created_at=time_text(one.created_micros),
        )
        for one in organizations(engine)
    ]
