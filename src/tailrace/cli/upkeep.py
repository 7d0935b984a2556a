"""What an operator does now and then: `clock accept`, `log retire` and `held list`."""

from __future__ import annotations

from typing import Annotated

import typer

from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    open_folder,
    print_json,
    print_lines,
    print_table,
)
from tailrace.clock import to_datetime
from tailrace.state.processing_view import ProcessingView

# Enough to read; a folder with more has a defect that the first rows already show.
HELD_SHOWN_MAX = 1000

clock_app = typer.Typer(help="The clock that the log takes its time from.", no_args_is_help=True)
log_app = typer.Typer(help="The log of accepted requests.", no_args_is_help=True)
held_app = typer.Typer(help="Events that could not be processed.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    clock_app.command("accept")(_accept)
    log_app.command("retire")(_retire)
    held_app.command("list")(_held)
    held_app.command("retry")(_retry)
    app.add_typer(clock_app, name="clock")
    app.add_typer(log_app, name="log")
    app.add_typer(held_app, name="held")


def _accept(data: DataOption = DATA_DEFAULT) -> None:
    """Take the machine's present time as right after it jumped forward."""
    from tailrace.log.stamping import accept_clock

    folder, files, clock = open_folder(data)
    accepted = accept_clock(folder.log, clock, files)
    print_lines([f"{to_datetime(accepted):%Y-%m-%d %H:%M:%S} UTC is accepted as the present time."])


def _retire(
    partition: Annotated[int, typer.Argument(help="Number of a partition without a collector.")],
    data: DataOption = DATA_DEFAULT,
) -> None:
    """End the partition of a collector that is gone for good, so that it holds no hour open."""
    from tailrace.log.retire import retire_partition

    folder, files, clock = open_folder(data)
    positions = ProcessingView(folder.processing_database).positions()
    known_end = max((row.position for row in positions if row.partition == partition), default=0)
    retire_partition(folder.log, partition, clock=clock, files=files, known_end=known_end)
    print_lines([f"Partition {partition} is retired."])


def _held(data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> None:
    """List the events that could not be processed."""
    folder, _, _ = open_folder(data)
    held = ProcessingView(folder.processing_database).held(HELD_SHOWN_MAX)
    if json:
        print_json(held)
        return
    if not held:
        print_lines(["No event is held."])
        return
    print_table(
        ("project", "hour", "partition", "position", "index", "error"),
        [(e.project, e.hour, e.partition, e.position, e.index, e.error) for e in held],
    )


def _retry(data: DataOption = DATA_DEFAULT) -> None:
    """Put the held events through the log again, once the reason is mended."""
    from tailrace.app.held import retry_held

    folder, files, clock = open_folder(data)
    count = retry_held(folder, clock, files)
    print_lines(
        [f"{count} held rows go through the log again; `tailrace status` shows what is held then."]
        if count
        else ["No event is held."]
    )
