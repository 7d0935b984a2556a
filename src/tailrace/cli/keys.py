"""`key add`, `key list`, `key revoke` and `key renew-secret`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli.opened import COMMAND_LINE, open_accounts
from tailrace.cli.options import ProjectArgument
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
    from tailrace.accounts.project_keys import ApiKey

key_app = typer.Typer(help="API keys and secret keys of projects.", no_args_is_help=True)


class _Shown(msgspec.Struct, frozen=True):
    """An API key as scripts read it; one that was revoked is never accepted again."""

    api_key: str
    project_id: int
    name: str | None
    created_at: str
    revoked_at: str | None


class _Renewed(msgspec.Struct, frozen=True):
    project_id: int
    secret_key: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    key_app.command("add")(_add)
    key_app.command("list")(_list)
    key_app.command("revoke")(_revoke)
    key_app.command("renew-secret")(_renew_secret)
    app.add_typer(key_app, name="key")


def _add(
    project: ProjectArgument,
    data: DataOption = DATA_DEFAULT,
    name: Annotated[
        str | None, typer.Option(help="What you know it by, such as the app that sends.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add one more API key to a project and print it; the others stay accepted."""
    from tailrace.accounts.project_keys import add_key, api_keys

    with open_accounts(data) as (engine, clock):
        key = add_key(engine, project, ids=SystemIds(), clock=clock, name=name, by=COMMAND_LINE)
        (made,) = [one for one in api_keys(engine, project) if one.key == key]
    if json:
        print_json(_shown(made))
    else:
        print_lines([f"project  {project}", f"API key  {key}"])


def _list(
    project: ProjectArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """List a project's API keys, revoked ones too. The secret key is kept nowhere."""
    from tailrace.accounts.project_keys import api_keys

    with open_accounts(data) as (engine, _):
        shown = [_shown(one) for one in api_keys(engine, project)]
    if json:
        print_json(shown)
        return
    print_table(
        ("API key", "name", "created", "revoked"),
        [(one.api_key, one.name or "-", one.created_at, one.revoked_at or "-") for one in shown],
    )


def _revoke(
    api_key: Annotated[str, typer.Argument(metavar="API-KEY", help="The whole key.")],
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Accept an API key no longer, for good; events that came by it stay."""
    from tailrace.accounts.project_keys import api_keys, revoke_key

    with open_accounts(data) as (engine, clock):
        revoked = revoke_key(engine, api_key, clock=clock, by=COMMAND_LINE)
        accepted = [one for one in api_keys(engine, revoked.project) if one.revoked_micros is None]
    if json:
        print_json(_shown(revoked))
        return
    print_lines(["Revoked. A running service stops accepting it within 2 seconds."])
    if not accepted:
        print_lines([f"Project {revoked.project} has no other API key: it receives no events now."])


def _renew_secret(
    project: ProjectArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Replace a project's secret key; the old one stops working at once."""
    from tailrace.accounts.project_keys import renew_secret_key

    with open_accounts(data) as (engine, clock):
        secret = renew_secret_key(engine, project, ids=SystemIds(), clock=clock, by=COMMAND_LINE)
    if json:
        print_json(_Renewed(project, secret))
    else:
        print_lines([f"project     {project}", f"secret key  {secret}   (shown only now)"])


def _shown(one: ApiKey) -> _Shown:
    return _Shown(
        api_key=one.key,
        project_id=one.project,
        name=one.name,
        created_at=time_text(one.created_micros),
        revoked_at=None if one.revoked_micros is None else time_text(one.revoked_micros),
    )
