"""The command line: `tailrace COMMAND`. Shows and asks; every rule lives in the packages below."""

from __future__ import annotations

import sys

import typer

from tailrace.cli.backfill import register as register_backfill
from tailrace.cli.destination_changes import register as register_destination_changes
from tailrace.cli.destinations import register as register_destinations
from tailrace.cli.keys import register as register_keys
from tailrace.cli.mail import register as register_mail
from tailrace.cli.organizations import register as register_organizations
from tailrace.cli.output import fail, machine_trouble
from tailrace.cli.people import register as register_people
from tailrace.cli.policy import register as register_policy
from tailrace.cli.projects import register as register_projects
from tailrace.cli.runs import register as register_runs
from tailrace.cli.service import register as register_service
from tailrace.cli.setup import register as register_setup
from tailrace.cli.show import register as register_show
from tailrace.cli.switching import register as register_switching
from tailrace.cli.upkeep import register as register_upkeep
from tailrace.errors import TailraceError

app = typer.Typer(
    name="tailrace",
    help="Your own raw product-analytics events, exactly once, hour by hour, in your own bucket.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 fine, 1 failed, 2 wrong use, 3 needs the operator.",
)

for register in (
    register_setup,
    register_service,
    register_organizations,
    register_people,
    register_projects,
    register_keys,
    register_destinations,
    register_policy,
    register_destination_changes,
    register_switching,
    register_backfill,
    register_runs,
    register_mail,
    register_show,
    register_upkeep,
):
    register(app)


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
    except Exception as error:
        trouble = machine_trouble(error)
        if trouble is None:
            raise
        fail(trouble)
