"""The accounts of a data folder, opened for one command, and who acts by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.output import open_folder
from tailrace.clock import Clock

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# The operator of the machine, who may do everything, as the audit trail names them.
COMMAND_LINE = "command line"

OrganizationOption = Annotated[
    int | None,
    typer.Option(metavar="ID", help="Organization; may be left out while there is only one."),
]


@contextmanager
def open_accounts(data: Path) -> Iterator[tuple[Engine, Clock]]:
    """Open the database of a data folder, and its clock."""
    from tailrace.state.database import open_database

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        yield engine, clock
    finally:
        engine.dispose()
