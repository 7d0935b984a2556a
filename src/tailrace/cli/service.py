"""`serve`, and `run` for one part alone."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from tailrace import killpoints
from tailrace.app import collector, exporter, processor, web
from tailrace.app.part import PartContext
from tailrace.app.serve import LISTEN_DEFAULT, WEB_LISTEN_DEFAULT, serve
from tailrace.cli.output import DATA_DEFAULT, DataOption


class _Part(StrEnum):
    COLLECTOR = "collector"
    PROCESSOR = "processor"
    EXPORTER = "exporter"
    WEB = "web"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(_serve)
    app.command("run")(_run)


def _serve(
    data: DataOption = DATA_DEFAULT,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where SDKs send events.")
    ] = LISTEN_DEFAULT,
    web_listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Health and metrics; a free port if taken.")
    ] = WEB_LISTEN_DEFAULT,
    clock_start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time (UTC) that a new folder's first start shows."),
    ] = None,
) -> None:
    """Run the whole service until it is stopped."""
    code = serve(data, listen=listen, web_listen=web_listen, clock_start=clock_start)
    raise typer.Exit(code)


def _run(
    part: Annotated[_Part, typer.Argument(help="Which part.")],
    data: DataOption = DATA_DEFAULT,
    partition: Annotated[int, typer.Option(help="A collector's log partition.")] = 1,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = "",
    socket: Annotated[int, typer.Option(hidden=True)] = -1,
    pipe: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """Run one part of the service alone, as `serve` runs all of them."""
    killpoints.arm(os.environ.get("TAILRACE_KILL_AT"))
    name = f"collector-{partition}" if part is _Part.COLLECTOR else part.value
    context = PartContext.open(data, name, pipe=pipe)
    if part is _Part.COLLECTOR:
        collector.run(context, partition, context.listening(socket, listen or LISTEN_DEFAULT))
    elif part is _Part.PROCESSOR:
        processor.run(context)
    elif part is _Part.EXPORTER:
        exporter.run(context)
    else:
        web.run(context, context.listening(socket, listen or WEB_LISTEN_DEFAULT))
