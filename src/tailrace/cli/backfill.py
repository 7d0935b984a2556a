"""`backfill`: export past hours by hand, and look after such manual exports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tailrace.cli.backfill_shown import (
    print_manual_export,
    print_manual_exports,
    print_planned,
    print_started,
)
from tailrace.cli.output import DATA_DEFAULT, DataOption, JsonOption, open_folder
from tailrace.errors import BadRequest
from tailrace.settings import load

if TYPE_CHECKING:
    from tailrace.app.backfill import Backfills
    from tailrace.state.delivery import DataType

START = "start"


class StartByDefault(TyperGroup):
    """A group in which anything but the name of a command starts a manual export."""

    # Typer's releases differ in whose class the context is.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word `start`, which may be left out, before a destination or an option."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [START, *args]
        return super().parse_args(ctx, args)


backfill_app = typer.Typer(
    cls=StartByDefault,
    help="Export past hours by hand: `backfill DESTINATION --from DATE --to DATE`.",
    no_args_is_help=True,
)

ExportArgument = Annotated[
    int, typer.Argument(metavar="NUMBER", help="Number of the manual export.")
]

StatusOption = Annotated[
    list[str] | None, typer.Option(help="Only those of this status; may be repeated.")
]
FirstOption = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="Hours from this date or hour on.")
]
LastOption = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="Hours up to it, itself included.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    backfill_app.command(START)(_start)
    backfill_app.command("list")(_list)
    backfill_app.command("pause")(_pause)
    backfill_app.command("resume")(_resume)
    backfill_app.command("cancel")(_cancel)
    app.add_typer(backfill_app, name="backfill")


def _start(
    destination: Annotated[
        int, typer.Argument(metavar="DESTINATION", help="Number of the destination.")
    ],
    first: Annotated[
        str,
        typer.Option("--from", metavar="DATE", help="Start date: 2026-01-02, or 2026-01-02T15."),
    ],
    last: Annotated[
        str, typer.Option("--to", metavar="DATE", help="End date, which is included as well.")
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be done; change nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite previously exported data.")
    ] = False,
    include: Annotated[
        str | None,
        typer.Option(metavar="TYPES", help="events, merged-ids; default: what it receives."),
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Export past hours (UTC) to a destination; the word `start` may be left out."""
    from tailrace.app.backfill import Asked

    asked = Asked(destination, first, last, _types(include), overwrite)
    with open_backfills(data) as backfills:
        if plan:
            print_planned(backfills.plan(asked), json)
        else:
            print_started(backfills.start(asked), json)


def _list(
    destination: Annotated[
        int | None, typer.Option(metavar="ID", help="Only those to this destination.")
    ] = None,
    status: StatusOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """List manual exports, newest first, with how far they are."""
    list_manual_exports(data, destination, status, first, last, json)


def list_manual_exports(
    data: Path,
    destination: int | None,
    status: Sequence[str] | None,
    first: str | None,
    last: str | None,
    json: bool,
) -> None:
    """Print the manual exports that are asked for; `runs --manual` does the same."""
    from tailrace.app.backfill import ListAsked

    asked = ListAsked(destination, tuple(status or ()), first, last)
    with open_backfills(data) as backfills:
        print_manual_exports(backfills.list(asked), json)


def _pause(
    number: ExportArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Let no further hour of a manual export begin."""
    with open_backfills(data) as backfills:
        print_manual_export(backfills.pause(number), json)


def _resume(
    number: ExportArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Go on with a manual export; hours that failed or are in conflict are tried again."""
    with open_backfills(data) as backfills:
        print_manual_export(backfills.resume(number), json)


def _cancel(
    number: ExportArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """End a manual export; what was delivered stays in the bucket."""
    with open_backfills(data) as backfills:
        print_manual_export(backfills.cancel(number), json)


@contextmanager
def open_backfills(data: Path) -> Iterator[Backfills]:
    """Open the manual exports of a data folder."""
    from tailrace.app.backfill import Backfills
    from tailrace.state.database import open_database

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        settings = load(folder.path, os.environ).settings
        yield Backfills(folder, settings, engine, clock, by="command line")
    finally:
        engine.dispose()


def _types(include: str | None) -> tuple[DataType, ...] | None:
    if include is None:
        return None
    known: dict[str, DataType] = {"events": "events", "merged-ids": "merged-ids"}
    named = tuple(dict.fromkeys(part.strip() for part in include.split(",") if part.strip()))
    if not named or any(name not in known for name in named):
        raise BadRequest(f"--include {include!r}: choose from {', '.join(known)}.")
    return tuple(known[name] for name in named)
