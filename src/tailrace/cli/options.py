"""`project set` and `project show`: how a project's lines are made."""

from __future__ import annotations

from enum import StrEnum
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
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from tailrace.accounts.projects import Project


class Switch(StrEnum):
    """An option's two values, as people write them."""

    on = "on"
    off = "off"


class SchemaNumber(StrEnum):
    """What `$schema` may be."""

    twelve = "12"
    null = "null"


class _Shown(msgspec.Struct, frozen=True):
    """A project and its options, as scripts read them."""

    project_id: int
    org_id: int
    name: str
    schema_number: int | None
    extended_columns: bool
    drop_ip: bool
    drop_location: bool
    drop_bots: bool
    keep_advertising_ids: bool


ProjectArgument = Annotated[int, typer.Argument(metavar="PROJECT", help="ID of the project.")]


def register(project_app: typer.Typer) -> None:
    """Add the commands to those of projects."""
    project_app.command("set")(_set)
    project_app.command("show")(_show)


def _set(
    project: ProjectArgument,
    schema_number: Annotated[
        SchemaNumber | None, typer.Option(help="What $schema is in each line.")
    ] = None,
    extended_columns: Annotated[
        Switch | None, typer.Option(help="Append the six newer columns, plan among them.")
    ] = None,
    drop_ip: Annotated[
        Switch | None, typer.Option(help="Export no IP address; the place found by it stays.")
    ] = None,
    drop_location: Annotated[
        Switch | None, typer.Option(help="Export neither latitude nor longitude.")
    ] = None,
    drop_bots: Annotated[
        Switch | None, typer.Option(help="Export nothing whose user agent is a bot's.")
    ] = None,
    keep_advertising_ids: Annotated[
        Switch | None, typer.Option(help="Export adid and idfa as they were sent.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Change options of a project; they hold from its next hour on, never within one."""
    from tailrace.accounts.options import SCHEMA_NUMBER, OptionsChange, change_options

    change = OptionsChange(
        schema_number=msgspec.UNSET
        if schema_number is None
        else SCHEMA_NUMBER
        if schema_number is SchemaNumber.twelve
        else None,
        extended_columns=_is_on(extended_columns),
        drop_ip=_is_on(drop_ip),
        drop_location=_is_on(drop_location),
        drop_bots=_is_on(drop_bots),
        keep_advertising_ids=_is_on(keep_advertising_ids),
    )
    with open_accounts(data) as (engine, clock):
        change_options(engine, project, change, clock=clock, by=COMMAND_LINE)
        shown = _shown(engine, project)
    _print(shown, json)


def _show(
    project: ProjectArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Show a project and its options."""
    with open_accounts(data) as (engine, _):
        shown = _shown(engine, project)
    _print(shown, json)


def _is_on(switch: Switch | None) -> bool | msgspec.UnsetType:
    return msgspec.UNSET if switch is None else switch is Switch.on


def _shown(engine: Engine, project_id: int) -> _Shown:
    from tailrace.accounts.options import options_of
    from tailrace.accounts.projects import find_project

    found: Project = find_project(engine, project_id)
    options = options_of(engine, project_id)
    return _Shown(
        project_id=found.id,
        org_id=found.organization,
        name=found.name,
        schema_number=options.schema_number,
        extended_columns=options.extended_columns,
        drop_ip=options.drop_ip,
        drop_location=options.drop_location,
        drop_bots=options.drop_bots,
        keep_advertising_ids=options.keep_advertising_ids,
    )


def _print(shown: _Shown, json: bool) -> None:
    if json:
        print_json(shown)
        return
    schema_number = "null" if shown.schema_number is None else shown.schema_number
    print_lines(
        [
            f"project               {shown.project_id}   {shown.name}",
            f"organization          {shown.org_id}",
            f"schema number         {schema_number}",
            f"extended columns      {_text(shown.extended_columns)}",
            f"drop IP               {_text(shown.drop_ip)}",
            f"drop location         {_text(shown.drop_location)}",
            f"drop bots             {_text(shown.drop_bots)}",
            f"keep advertising IDs  {_text(shown.keep_advertising_ids)}",
        ]
    )


def _text(chosen: bool) -> str:
    return Switch.on if chosen else Switch.off
