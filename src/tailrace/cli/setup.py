"""`init` and `project add`: organizations, projects and their keys."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from tailrace.cli import options
from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    open_folder,
    print_json,
    print_lines,
)
from tailrace.errors import NeedsOperator
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds

project_app = typer.Typer(help="Projects, their keys and options.", no_args_is_help=True)


class _Made(msgspec.Struct, frozen=True):
    org_id: int
    project_id: int
    api_key: str
    secret_key: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(_init)
    project_app.command("add")(_add_project)
    options.register(project_app)
    app.add_typer(project_app, name="project")


def _init(
    data: DataOption = DATA_DEFAULT,
    org_name: Annotated[str, typer.Option(help="Name of the organization.")] = "My organization",
    project_name: Annotated[str, typer.Option(help="Name of its first project.")] = "My project",
    email: Annotated[str, typer.Option(help="Address of the first admin.")] = "",
    json: JsonOption = False,
) -> None:
    """Make a data folder, an organization and its first project; print the keys."""
    from tailrace.accounts.addresses import checked_address
    from tailrace.accounts.projects import add_organization, add_project, organizations
    from tailrace.state.database import open_database
    from tailrace.state.secrets import Secrets

    folder, files, ids = DataFolder(data.resolve()), Files(), SystemIds()
    if email:
        # Before anything is made.
        checked_address(email)
    folder.create(files)
    engine = open_database(folder.database)
    try:
        if organizations(engine):
            raise NeedsOperator(
                f"{folder.path} is set up already. Add a project with "
                "`tailrace project add --name NAME`, or name another folder with --data."
            )
        Secrets.open(folder.secrets_key, files, ids)
        clock = folder.clock()
        organization = add_organization(engine, org_name, admin_email=email, clock=clock)
        made = add_project(engine, organization, project_name, ids=ids, clock=clock)
    finally:
        engine.dispose()
    _show(_Made(organization, made.project_id, made.api_key, made.secret_key), json)


def _add_project(
    name: Annotated[str, typer.Option(help="Name of the project.")],
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Add a project to the organization; print its keys."""
    from tailrace.accounts.projects import add_project, organizations
    from tailrace.state.database import open_database

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        known = organizations(engine)
        if not known:
            raise NeedsOperator(f"{folder.path} has no organization yet. Run `tailrace init`.")
        organization = known[0].id
        made = add_project(engine, organization, name, ids=SystemIds(), clock=clock)
    finally:
        engine.dispose()
    _show(_Made(organization, made.project_id, made.api_key, made.secret_key), json)


def _show(shown: _Made, json: bool) -> None:
    if json:
        print_json(shown)
        return
    print_lines(
        [
            f"organization  {shown.org_id}",
            f"project       {shown.project_id}",
            f"API key       {shown.api_key}",
            f"secret key    {shown.secret_key}   (shown only now)",
        ]
    )
