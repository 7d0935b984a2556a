"""`person add`, `list`, `set`, `remove`, `invite` and `password`: who is in an organization."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

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
from tailrace.errors import BadRequest
from tailrace.ids import SystemIds
from tailrace.settings import load

if TYPE_CHECKING:
    from tailrace.accounts.membership import Person

person_app = typer.Typer(help="People of an organization and their roles.", no_args_is_help=True)

# Any more is no password; the rule itself is that of the accounts.
_INPUT_CHARACTERS_MAX = 5000

EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the person.")]
RoleOption = Annotated[str, typer.Option(help="viewer, member, manager or admin.")]


class _Shown(msgspec.Struct, frozen=True):
    """A person as scripts read it."""

    org_id: int
    email: str
    name: str | None
    role: str
    has_password: bool
    since: str


class _Invited(msgspec.Struct, frozen=True):
    """A sign-in link as scripts read it; only a path where `public_url` is not set."""

    email: str
    link: str
    valid_until: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    person_app.command("add")(_add)
    person_app.command("list")(_list)
    person_app.command("set")(_set)
    person_app.command("remove")(_remove)
    person_app.command("invite")(_invite)
    person_app.command("password")(_password)
    app.add_typer(person_app, name="person")


def _add(
    email: EmailArgument,
    role: RoleOption,
    organization: OrganizationOption = None,
    data: DataOption = DATA_DEFAULT,
    name: Annotated[str | None, typer.Option(help="Name of the person.")] = None,
    with_password: Annotated[
        bool, typer.Option("--with-password", help="Ask for a password, or read it from a pipe.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Add a person to an organization. Admins get its mails."""
    from tailrace.accounts.passwords import Passwords
    from tailrace.accounts.people import NewPerson, add_person
    from tailrace.accounts.projects import chosen_organization
    from tailrace.accounts.roles import checked_role

    with open_accounts(data) as (engine, clock):
        number = chosen_organization(engine, organization)
        new = NewPerson(
            email=email,
            role=checked_role(role),
            name=name,
            password=_read_password() if with_password else None,
        )
        passwords = Passwords(SystemIds())
        added = add_person(engine, number, new, passwords=passwords, clock=clock, by=COMMAND_LINE)
    _print(added, json)


def _list(
    organization: OrganizationOption = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """List the people of one organization, or of all."""
    from tailrace.accounts.people import people
    from tailrace.accounts.projects import organizations

    with open_accounts(data) as (engine, _):
        chosen = (
            [organization]
            if organization is not None
            else [one.id for one in organizations(engine)]
        )
        shown = [_shown(one) for number in chosen for one in people(engine, number)]
    if json:
        print_json(shown)
        return
    print_table(
        ("email", "organization", "role", "name", "password", "since"),
        [
            (
                one.email,
                one.org_id,
                one.role,
                one.name or "-",
                "set" if one.has_password else "-",
                one.since,
            )
            for one in shown
        ],
    )


def _set(
    email: EmailArgument,
    role: RoleOption,
    organization: OrganizationOption = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Give a person another role; an organization keeps at least one admin."""
    from tailrace.accounts.people import change_role
    from tailrace.accounts.projects import chosen_organization
    from tailrace.accounts.roles import checked_role

    with open_accounts(data) as (engine, clock):
        number = chosen_organization(engine, organization)
        changed = change_role(
            engine, number, email, checked_role(role), clock=clock, by=COMMAND_LINE
        )
    _print(changed, json)


def _remove(
    email: EmailArgument,
    organization: OrganizationOption = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Let a person belong to an organization no longer; what they made stays."""
    from tailrace.accounts.people import remove_person
    from tailrace.accounts.projects import chosen_organization

    with open_accounts(data) as (engine, clock):
        number = chosen_organization(engine, organization)
        removed = remove_person(engine, number, email, clock=clock, by=COMMAND_LINE)
    if json:
        print_json(_shown(removed))
    else:
        print_lines([f"{removed.email} is no longer in organization {number}."])


def _invite(
    email: EmailArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Print a link by which a person chooses a password, once and within 7 days."""
    from tailrace.accounts.sign_in_links import join_path, make_operators_link
    from tailrace.clock import SystemClock

    public_url = load(data.resolve(), os.environ).settings.public_url.rstrip("/")
    with open_accounts(data) as (engine, clock):
        made = make_operators_link(
            engine,
            email,
            ids=SystemIds(),
            clock=clock,
            machine=SystemClock(),
            by=COMMAND_LINE,
        )
    link, until = public_url + join_path(made.token), time_text(made.ends_micros)
    if json:
        print_json(_Invited(email=made.email, link=link, valid_until=until))
        return
    lines = [f"person       {made.email}", f"link         {link}", f"valid until  {until}"]
    if not public_url:
        lines.append("Put the address of the pages before it; set public_url to have it here.")
    print_lines(lines)


def _password(email: EmailArgument, data: DataOption = DATA_DEFAULT) -> None:
    """Set a person's password: it is asked for, or read from a pipe, and never an argument."""
    from tailrace.accounts.passwords import Passwords
    from tailrace.accounts.people import set_password

    with open_accounts(data) as (engine, clock):
        password = _read_password()
        passwords = Passwords(SystemIds())
        set_password(engine, email, password, passwords=passwords, clock=clock, by=COMMAND_LINE)
    print_lines([f"The password of {email} is set."])


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline(_INPUT_CHARACTERS_MAX)
    password = line.removesuffix("\n").removesuffix("\r")
    if not password:
        raise BadRequest("There is no password on standard input: write it there as one line.")
    return password


def _print(one: Person, json: bool) -> None:
    if json:
        print_json(_shown(one))
        return
    print_lines(
        [
            f"person        {one.email}",
            f"organization  {one.organization}",
            f"role          {one.role}",
            f"password      {'set' if one.has_password else 'not set'}",
        ]
    )


def _shown(one: Person) -> _Shown:
    return _Shown(
        org_id=one.organization,
        email=one.email,
        name=one.name,
        role=one.role,
        has_password=one.has_password,
        since=time_text(one.created_micros),
    )
