"""How commands print, and which exit code an error has."""

from __future__ import annotations

import os
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
    sys.exit(exit_code(error))


def exit_code(error: TailraceError) -> int:
    """Return the exit code that tells a script what kind of error it was."""
    if isinstance(error, BadRequest):
        return WRONG_USE
    if isinstance(error, NeedsOperator):
        return NEEDS_OPERATOR
    return FAILED


def machine_trouble(error: Exception) -> NeedsOperator | None:
    """Return what the operator can do about a disk, a permission or a database; None for defects.

    Whichever step met it, a traceback would say less.
    """
    # Only `state` knows of SQLite, and what it raises may come wrapped.
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError):
        what = f"use {cause.filename}" if cause.filename else "go on"
        reason = cause.strerror or str(cause)
        return NeedsOperator(
            f"Cannot {what}: {reason}. Look at the data folder's owner, permissions and disk, "
            "then try again."
        )
    if type(cause).__module__ == "sqlite3":
        return NeedsOperator(
            f"Cannot use a database of the data folder: {cause}. Look at the folder's owner, "
            "permissions and disk, then try again."
        )
    return None


def print_json(value: Any) -> None:
    """Print one JSON document, indented; Structs print as objects."""
    _write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print plain lines."""
    for line in lines:
        _write(line + "\n")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has enough; the exit code still says how the command went.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
