"""`init`: a data folder with its first organization and project."""

from __future__ import annotations

from typing import Annotated

import typer

from tailrace.app.listening import WEB_LISTEN_DEFAULT
from tailrace.cli.opened import COMMAND_LINE
from tailrace.cli.output import DATA_DEFAULT, DataOption, JsonOption, print_lines
from tailrace.cli.projects import Made, print_made
from tailrace.errors import NeedsOperator
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds


class _Initialised(Made, frozen=True):
    """The first project; and the page that makes the first admin, with the token that opens it."""

    first_run: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(_init)


def _init(
    data: DataOption = DATA_DEFAULT,
    org_name: Annotated[str, typer.Option(help="Name of the organization.")] = "My organization",
    project_name: Annotated[str, typer.Option(help="Name of its first project.")] = "My project",
    email: Annotated[str, typer.Option(help="Address of the first admin.")] = "",
    json: JsonOption = False,
) -> None:
    """Make a data folder, an organization and its first project; print the keys."""
    from tailrace.accounts.addresses import checked_address
    from tailrace.accounts.first_run import first_run_path, new_token
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
        organization = add_organization(
            engine, org_name, admin_email=email, clock=clock, by=COMMAND_LINE
        )
        made = add_project(
            engine, organization, project_name, ids=ids, clock=clock, by=COMMAND_LINE
        )
        token = new_token(engine, ids=ids, clock=clock)
        path = "" if token is None else first_run_path(token)
    finally:
        engine.dispose()
    print_made(
        _Initialised(organization, made.project_id, made.api_key, made.secret_key, path), json
    )
    if path and not json:
        address = f"http://{WEB_LISTEN_DEFAULT}{path}"
        print_lines([f"first admin   {address}   (once tailrace serve runs)"])
