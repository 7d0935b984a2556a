"""`pause` and `resume`: a destination's automatic exports off and on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli.destination_shown import (
    Shown,
    ShownMissed,
    print_missed,
    shown_missed,
    shown_of,
)
from tailrace.cli.destinations import DestinationArgument, open_destinations
from tailrace.cli.output import (
    DATA_DEFAULT,
    FAILED,
    DataOption,
    JsonOption,
    print_json,
    print_lines,
)
from tailrace.cli.terminated import ending_in_order
from tailrace.cli.verification import follow, print_trouble, stored_policy
from tailrace.notify.amounts import counted, run_word
from tailrace.settings import Settings, load

if TYPE_CHECKING:
    from tailrace.app.switching import Missed, Resumed


class _Missed(msgspec.Struct, frozen=True):
    """What a paused destination missed, and how many runs it owes besides."""

    destination: Shown
    missed: tuple[ShownMissed, ...]
    missed_hours: int
    owed: int


class _Resumed(msgspec.Struct, frozen=True):
    """How a resumption went; `left_out` and `owed` count runs."""

    destination: Shown
    passed: bool
    missing_actions: tuple[str, ...]
    missed: tuple[ShownMissed, ...]
    left_out: int
    owed: int


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pause")(_pause)
    app.command("resume")(_resume)


def _pause(
    destination: DestinationArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Switch a destination's automatic exports off; what it owes stays owed."""
    from tailrace.app.switching import pause

    with open_destinations(data) as (_, destinations):
        found = pause(destinations, destination)
    if json:
        print_json(_missed(found))
        return
    print_lines(
        [
            f"Destination {destination} is paused. {_owed(found)} owed and will wait.",
            f"Go on with: tailrace resume {destination}",
        ]
    )


def _resume(
    destination: DestinationArgument,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOURS",
            help="Missed hours that are not to go out: 2026-01-02, 2026-01-02T15, "
            "two of them with .. between, or all. May be given more than once.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list what was missed; change nothing.")
    ] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Switch automatic exports on again; the hours that were missed go out, unless left out."""
    from tailrace.app.destinations import open_clients
    from tailrace.app.switching import missed, resume

    with open_destinations(data) as (folder, destinations):
        if plan:
            _print_plan(missed(destinations, destination), json)
            return
        settings = load(folder.path, os.environ).settings
        clients = open_clients(folder, settings)
        with ending_in_order():
            found = resume(destinations, clients, destination, leave_out or [], follow(json))
    _print_resumed(found, settings, json)
    if not found.verification.passed:
        raise typer.Exit(FAILED)


def _print_plan(found: Missed, json: bool) -> None:
    if json:
        print_json(_missed(found))
        return
    print_missed(found.ranges)
    word = run_word(found.destination.data_types)
    print_lines(
        [
            f"{counted(len(found.hours), f'missed {word}')}. "
            f"Besides, {_owed(found).lower()} owed from before."
        ]
    )


def _print_resumed(found: Resumed, settings: Settings, json: bool) -> None:
    passed, number = found.verification.passed, found.destination.id
    if json:
        print_json(
            _Resumed(
                destination=shown_of(found.destination),
                passed=passed,
                missing_actions=found.verification.missing_actions,
                missed=shown_missed(found.missed),
                left_out=found.left_out,
                owed=found.owed,
            )
        )
        return
    if not passed:
        print_trouble(found.verification, stored_policy(found.destination, settings))
        print_lines(
            [f"Destination {number} stays paused. Mend this, then: tailrace resume {number}"]
        )
        return
    print_missed(found.missed)
    word = f"missed {run_word(found.destination.data_types)}"
    left_out = f" Left out: {counted(found.left_out, word)}." if found.left_out else ""
    print_lines([f"Destination {number} is active. {_owed(found)} owed.{left_out}"])


def _missed(found: Missed) -> _Missed:
    return _Missed(
        destination=shown_of(found.destination),
        missed=shown_missed(found.ranges),
        missed_hours=len(found.hours),
        owed=found.owed,
    )


def _owed(found: Missed | Resumed) -> str:
    word = run_word(found.destination.data_types)
    return f"1 {word} is" if found.owed == 1 else f"{found.owed or 'No'} {word}s are"
