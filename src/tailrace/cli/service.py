"""`serve`, and `run` for one part alone."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace import killpoints
from tailrace.app.listening import LISTEN_DEFAULT, WEB_LISTEN_DEFAULT
from tailrace.cli.output import DATA_DEFAULT, FAILED, DataOption, exit_code, machine_trouble
from tailrace.errors import TailraceError

if TYPE_CHECKING:
    from tailrace.app.part import PartContext


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
        str,
        typer.Option(
            metavar="HOST:PORT", help="The pages, health and metrics; a free port if taken."
        ),
    ] = WEB_LISTEN_DEFAULT,
    clock_start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time (UTC) that a new folder's first start shows."),
    ] = None,
) -> None:
    """Run the whole service until it is stopped."""
    from tailrace.app.serve import serve
    from tailrace.web.static_files import MISSING, missing_libraries

    if missing_libraries():
        typer.echo(MISSING, err=True)
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
    import structlog

    from tailrace.app.part import PartContext

    killpoints.arm(os.environ.get("TAILRACE_KILL_AT"))
    name = f"collector-{partition}" if part is _Part.COLLECTOR else part.value
    context = PartContext.open(data, name, pipe=pipe)
    try:
        _run_part(context, part, partition, listen, socket)
    except Exception as error:
        # The outermost place of the process: its log is where the reason is looked for.
        log = structlog.get_logger()
        known = error if isinstance(error, TailraceError) else machine_trouble(error)
        if known is not None:
            # A disk's trouble is told in a sentence; where it was met stands beside it.
            trace = None if known is error else error
            log.critical("part_ends", reason=str(known), exc_info=trace)
            raise typer.Exit(exit_code(known)) from error
        log.critical("part_failed", exc_info=True)
        raise typer.Exit(FAILED) from error


def _run_part(context: PartContext, part: _Part, partition: int, listen: str, socket: int) -> None:
    # Each part imports only what it runs on: that is most of its start-up time and memory.
    if part is _Part.COLLECTOR:
        from tailrace.app.collector import run as run_collector

        run_collector(context, partition, context.listening(socket, listen or LISTEN_DEFAULT))
    elif part is _Part.PROCESSOR:
        from tailrace.app.processor import run as run_processor

        run_processor(context)
    elif part is _Part.EXPORTER:
        from tailrace.app.exporter import run as run_exporter

        run_exporter(context)
    else:
        from tailrace.web.part import run as run_web

        run_web(context, context.listening(socket, listen or WEB_LISTEN_DEFAULT))
