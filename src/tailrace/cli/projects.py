"""`project add`, `project list`, and portfolio projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli import options
from tailrace.cli.opened import COMMAND_LINE, OrganizationOption, open_accounts
from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    print_json,
    print_lines,
    print_table,
)
from tailrace.cli.times import time_text
from tailrace.ids import SystemIds

if TYPE_CHECKING:
    from tailrace.accounts.portfolios import Portfolio
    from tailrace.accounts.projects import Project

project_app = typer.Typer(help="Projects and their options.", no_args_is_help=True)

ShownProjects = Annotated[
    list[int],
    typer.Option("--project", metavar="ID", help="A project that it shows; once for each."),
]


class Made(msgspec.Struct, frozen=True):
    """A project that was just made, with its first keys."""

    org_id: int
    project_id: int
    api_key: str
    secret_key: str


class _Shown(msgspec.Struct, frozen=True):
    """A project as scripts read it; `portfolio_of` is null unless it is a portfolio project."""

    project_id: int
    org_id: int
    name: str
    portfolio_of: tuple[int, ...] | None
    api_keys: tuple[str, ...]
    created_at: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    project_app.command("add")(_add)
    project_app.command("list")(_list)
    options.register(project_app)
    project_app.command("add-portfolio")(_add_portfolio)
    project_app.command("set-portfolio")(_set_portfolio)
    app.add_typer(project_app, name="project")


def print_made(made: Made, json: bool) -> None:
    """Print the IDs and keys of a new project."""
    if json:
        print_json(made)
        return
    print_lines(
        [
            f"organization  {made.org_id}",
            f"project       {made.project_id}",
            f"API key       {made.api_key}",
            f"secret key    {made.secret_key}   (shown only now)",
        ]
    )


def _add(
    name: Annotated[str, typer.Option(help="Name of the project.")],
    organization: OrganizationOption = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Add a project to an organization; print its keys."""
    from tailrace.accounts.projects import add_project, chosen_organization

    with open_accounts(data) as (engine, clock):
        number = chosen_organization(engine, organization)
        made = add_project(engine, number, name, ids=SystemIds(), clock=clock, by=COMMAND_LINE)
    print_made(Made(number, made.project_id, made.api_key, made.secret_key), json)


def _add_portfolio(
    name: Annotated[str, typer.Option(help="Name of the portfolio project.")],
    project: ShownProjects,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Add a view over projects of one organization. It receives no events and exports nothing."""
    from tailrace.accounts.portfolios import add_portfolio

    with open_accounts(data) as (engine, clock):
        made = add_portfolio(engine, name, project, clock=clock, by=COMMAND_LINE)
    _print_portfolio(made, json)


def _set_portfolio(
    number: Annotated[int, typer.Argument(metavar="PORTFOLIO", help="Its project ID.")],
    project: ShownProjects,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Choose anew which projects a portfolio project shows."""
    from tailrace.accounts.portfolios import change_portfolio

    with open_accounts(data) as (engine, clock):
        changed = change_portfolio(engine, number, project, clock=clock, by=COMMAND_LINE)
    _print_portfolio(changed, json)


def _list(
    organization: OrganizationOption = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """List projects and portfolio projects: of one organization, or all."""
    from tailrace.accounts.portfolios import portfolios
    from tailrace.accounts.projects import chosen_organization, projects

    with open_accounts(data) as (engine, _):
        if organization is not None:
            chosen_organization(engine, organization)
        shown = [_project(one) for one in projects(engine, organization_id=organization)]
        shown += [_portfolio(one) for one in portfolios(engine, organization_id=organization)]
    shown.sort(key=lambda one: (one.org_id, one.project_id))
    if json:
        print_json(shown)
        return
    print_table(
        ("id", "organization", "name", "API keys", "portfolio of"),
        [
            (
                one.project_id,
                one.org_id,
                one.name,
                len(one.api_keys) if one.portfolio_of is None else "-",
                _listed(one.portfolio_of),
            )
            for one in shown
        ],
    )


def _project(one: Project) -> _Shown:
    return _Shown(
        project_id=one.id,
        org_id=one.organization,
        name=one.name,
        portfolio_of=None,
        api_keys=one.api_keys,
        created_at=time_text(one.created_micros),
    )


def _portfolio(one: Portfolio) -> _Shown:
    return _Shown(
        project_id=one.id,
        org_id=one.organization,
        name=one.name,
        portfolio_of=one.projects,
        api_keys=(),
        created_at=time_text(one.created_micros),
    )


def _print_portfolio(one: Portfolio, json: bool) -> None:
    if json:
        print_json(_portfolio(one))
        return
    print_lines(
        [
            f"organization  {one.organization}",
            f"project       {one.id}   {one.name}",
            f"portfolio of  {_listed(one.projects)}",
        ]
    )


def _listed(projects: tuple[int, ...] | None) -> str:
    return "-" if projects is None else ", ".join(map(str, projects))
