"""`mail list`, `mail show` and `mail test`: what was mailed, and whether mail can be sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli.opened import OrganizationOption, open_accounts
from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    open_folder,
    print_json,
    print_lines,
    print_table,
)
from tailrace.cli.times import optional_time_text, time_text
from tailrace.ids import SystemIds
from tailrace.settings import load

if TYPE_CHECKING:
    from tailrace.state.mails import Mail

mail_app = typer.Typer(help="Mails about outages and the disk.", no_args_is_help=True)

MAILS_DEFAULT = 50


class _Recipient(msgspec.Struct, frozen=True):
    """One address of a mail as scripts read it; `next_try_at` is by the machine's clock."""

    address: str
    state: str
    attempts: int
    tried_at: str | None
    sent_at: str | None
    next_try_at: str | None
    error: str | None


class _Listed(msgspec.Struct, frozen=True):
    """A mail without its words, as scripts read it."""

    mail_id: int
    made_at: str
    kind: str
    state: str
    org_id: int | None
    destination_id: int | None
    subject: str
    recipients: tuple[_Recipient, ...]


class _Shown(msgspec.Struct, frozen=True):
    """A mail with its words, as scripts read it."""

    mail: _Listed
    message_id: str
    text: str
    html: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    mail_app.command("list")(_list)
    mail_app.command("show")(_show)
    mail_app.command("test")(_test)
    app.add_typer(mail_app, name="mail")


def _list(
    destination: Annotated[
        int | None, typer.Option(metavar="ID", help="Only those about this destination.")
    ] = None,
    organization: OrganizationOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = MAILS_DEFAULT,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """List the mails that were made, the newest first, and whether they were sent."""
    from tailrace.accounts.projects import chosen_organization
    from tailrace.state.destinations import Destinations
    from tailrace.state.mails import Mails

    with open_accounts(data) as (engine, clock):
        if destination is not None:
            Destinations(engine, clock).get(destination)
        if organization is not None:
            chosen_organization(engine, organization)
        found = Mails(engine, clock).newest(
            organization=organization, destination_id=destination, limit=limit
        )
    shown = [_listed(one) for one in found]
    if json:
        print_json(shown)
        return
    if not shown:
        print_lines(["There are no such mails."])
        return
    print_table(
        ("mail", "made at", "kind", "destination", "state", "to", "subject"),
        [
            (
                one.mail_id,
                one.made_at,
                one.kind,
                one.destination_id or "-",
                one.state,
                len(one.recipients),
                one.subject,
            )
            for one in shown
        ],
    )
    waits = any(one.state == "waiting" for one in shown)
    if waits and not load(data.resolve(), os.environ).settings.smtp.host:
        print_lines(["No mail server is set (smtp.host): mails are kept and not sent."])


def _show(
    mail: Annotated[int, typer.Argument(metavar="ID", help="Number of the mail.")],
    html: Annotated[bool, typer.Option("--html", help="Print its HTML instead.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Show a mail: to whom it went or did not, and what it says."""
    from tailrace.state.mails import Mails

    with open_accounts(data) as (engine, clock):
        found = Mails(engine, clock).get(mail)
    if json:
        print_json(_Shown(_listed(found), found.message_id, found.text, found.html))
        return
    if html:
        print_lines(found.html.splitlines())
        return
    print_lines(
        [
            f"mail     {found.id}",
            f"made     {time_text(found.made_micros)}",
            f"kind     {found.kind}",
            f"state    {found.state}",
        ]
    )
    for one in _recipients(found):
        print_lines([f"to       {one.address}: {_outcome(one)}"])
    print_lines([f"subject  {found.subject}", "", *found.text.splitlines()])


def _test(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where to send it.")],
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Send a message to try the mail settings; the answer names the step that failed."""
    from tailrace.notify.trial import send_trial

    folder, _, clock = open_folder(data)
    settings = load(folder.path, os.environ).settings.smtp
    send_trial(settings, address, clock=clock, ids=SystemIds())
    print_lines([f"{settings.host}:{settings.port} has taken a message to {address.strip()}."])


def _outcome(one: _Recipient) -> str:
    if one.state == "sent":
        return f"sent {one.sent_at}"
    tries = f"{one.attempts} tries" if one.attempts != 1 else "1 try"
    after = f", {tries}" if one.attempts else ""
    upcoming = f", next {one.next_try_at}" if one.next_try_at else ""
    why = f": {one.error}" if one.error else ""
    return f"{one.state}{after}{upcoming}{why}"


def _listed(found: Mail) -> _Listed:
    return _Listed(
        mail_id=found.id,
        made_at=time_text(found.made_micros),
        kind=found.kind,
        state=found.state,
        org_id=found.organization,
        destination_id=found.destination_id,
        subject=found.subject,
        recipients=_recipients(found),
    )


def _recipients(found: Mail) -> tuple[_Recipient, ...]:
    return tuple(
        _Recipient(
            address=one.address,
            state=one.state,
            attempts=one.attempts,
            tried_at=optional_time_text(one.tried_micros),
            sent_at=optional_time_text(one.sent_micros),
            # 0 means at once.
            next_try_at=optional_time_text(one.due_micros or None),
            error=one.error,
        )
        for one in found.recipients
    )
