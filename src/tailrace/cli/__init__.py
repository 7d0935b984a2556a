"""The command line: `tailrace COMMAND`. Shows and asks; every rule lives in the packages below."""

from __future__ import annotations

import sys

import typer

from tailrace.cli import destinations, service, setup, show, upkeep
from tailrace.cli.output import fail
from tailrace.errors import TailraceError

app = typer.Typer(
    name="tailrace",
    help="Your own raw product-analytics events, exactly once, hour by hour, in your own bucket.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 fine, 1 failed, 2 wrong use, 3 needs the operator.",
)

setup.register(app)
service.register(app)
destinations.register(app)
show.register(app)
upkeep.register(app)


def main() -> None:
    """Run one command and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if not stream.isatty():
            # A script that reads line by line must see each line when it is printed.
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        app()
    except TailraceError as error:
        fail(error)
    except BrokenPipeError:
        # The reader, such as `head`, has enough; nothing more can be printed.
        sys.stderr.close()
        sys.exit(0)
