"""How commands print, and which exit code an error has."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from tailrace.clock import Clock
from tailrace.errors import BadRequest, NeedsOperator, TailraceError
from tailrace.files import Files
from tailrace.folder import DataFolder

FAILED = 1
WRONG_USE = 2
NEEDS_OPERATOR = 3

DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="TAILRACE_DATA", help="The data folder.", show_envvar=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DATA_DEFAULT = Path("tailrace-data")


def fail(error: TailraceError) -> NoReturn:
    """Print an error's sentence on standard error and end with its exit code."""
    sys.stderr.write(f"tailrace: {error}\n")
    if isinstance(error, BadRequest):
        sys.exit(WRONG_USE)
    if isinstance(error, NeedsOperator):
        sys.exit(NEEDS_OPERATOR)
    sys.exit(FAILED)


def print_json(value: Any) -> None:
    """Print one JSON document, indented; Structs print as objects."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print plain lines."""
    for line in lines:
        sys.stdout.write(line + "\n")


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns that line up; the same on a terminal and in a pipe."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print_lines(
            ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()]
        )


def open_folder(data: Path) -> tuple[DataFolder, Files, Clock]:
    """Return an initialised data folder, the file layer and the folder's clock."""
    folder = DataFolder(data.resolve())
    folder.check()
    return folder, Files(), folder.clock()
