"""Options of a project: what of its lines it chooses (D2, D3), and what it wants left out of them.

Called by the command line; the processor reads them when an hour opens, and keeps them with it.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.state.audit import SERVICE, note
from tailrace.state.database import reading, writing
from tailrace.state.projects import organization_of_project, organization_or_none
from tailrace.state.tables import project_options

# What `$schema` was in such lines before it became null.
SCHEMA_NUMBER = 12


class ProjectOptions(msgspec.Struct, frozen=True):
    """How a project's lines are made; the defaults are those of a project that chose nothing.

    `drop_bots` leaves out what programs without a person did, as their user agents tell.
    `keep_advertising_ids` shows these ids instead of their hash alone (D16).
    `drop_ip` and `drop_location` leave `ip_address`, and latitude and longitude, out of the lines;
    the place that was found by an address stays.
    """

    schema_number: int | None = SCHEMA_NUMBER
    extended_columns: bool = False
    drop_ip: bool = False
    drop_location: bool = False
    drop_bots: bool = False
    keep_advertising_ids: bool = False


class OptionsChange(msgspec.Struct, frozen=True):
    """What is to become of some options; those that are unset stay."""

    schema_number: int | msgspec.UnsetType | None = msgspec.UNSET
    extended_columns: bool | msgspec.UnsetType = msgspec.UNSET
    drop_ip: bool | msgspec.UnsetType = msgspec.UNSET
    drop_location: bool | msgspec.UnsetType = msgspec.UNSET
    drop_bots: bool | msgspec.UnsetType = msgspec.UNSET
    keep_advertising_ids: bool | msgspec.UnsetType = msgspec.UNSET

    def chosen(self) -> dict[str, int | bool | None]:
        """Return the options that are set, by name."""
        named = msgspec.structs.asdict(self)
        return {name: value for name, value in named.items() if value is not msgspec.UNSET}


def options_of(engine: Engine, project_id: int, *, within: int | None = None) -> ProjectOptions:
    """Return a project's options; those of a project that is not known are the defaults.

    `within` is the organization whose person asks; None is the operator, and the processor.
    """
    with reading(engine) as connection:
        if within not in (None, organization_or_none(connection, project_id)):
            return ProjectOptions()
        return _stored(connection, project_id)


def change_options(
    engine: Engine,
    project_id: int,
    change: OptionsChange,
    *,
    clock: Clock,
    within: int | None = None,
    by: str = SERVICE,
) -> ProjectOptions:
    """Change some of a project's options; return all. They hold from the next hour that opens.

    `within` is the organization whose person acts; None is the operator. Raise `BadRequest` for an
    unknown project, a portfolio project, no option at all, and another schema number.
    """
    chosen = change.chosen()
    if not chosen:
        raise BadRequest("Nothing to change: name at least one option.")
    if chosen.get("schema_number") not in (None, SCHEMA_NUMBER):
        raise BadRequest(
            f"Cannot set the schema number to {chosen['schema_number']}: it is {SCHEMA_NUMBER} "
            "or null."
        )
    with writing(engine) as connection:
        organization_of_project(connection, project_id, within=within)
        options = msgspec.structs.replace(_stored(connection, project_id), **chosen)
        table = project_options.c.project
        connection.execute(project_options.delete().where(table == project_id))
        connection.execute(
            project_options.insert().values(project=project_id, **msgspec.structs.asdict(options))
        )
        note(
            connection,
            at_micros=clock.now_micros(),
            who=by,
            what="changed",
            changed=f"project {project_id}",
            detail=chosen,
        )
    return options


def _stored(connection: Connection, project_id: int) -> ProjectOptions:
    table = project_options.c
    row = connection.execute(
        sa.select(
            table.schema_number,
            table.extended_columns,
            table.drop_ip,
            table.drop_location,
            table.drop_bots,
            table.keep_advertising_ids,
        ).where(table.project == project_id)
    ).one_or_none()
    return ProjectOptions() if row is None else ProjectOptions(*row)
