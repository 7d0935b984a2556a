"""Data folders for measures: made as `tailrace init` makes them, with the default settings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from tailrace.accounts.projects import add_organization, add_project
from tailrace.app.part import PartContext
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.settings import load
from tailrace.state.database import open_database

# More than a run writes, less than the memory of a small machine.
_TOUCHED_BYTES = 1536 * 1024 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024


class Place(msgspec.Struct, frozen=True):
    """A data folder with one organization and one project."""

    path: Path
    organization: int
    project: int
    api_key: str


def make_place(path: Path) -> Place:
    """Make a data folder with one project in it."""
    folder, files, ids = DataFolder(path), Files(), SystemIds()
    folder.create(files)
    engine = open_database(folder.database)
    try:
        clock = folder.clock()
        organization = add_organization(engine, "Benchmarks", clock=clock)
        made = add_project(engine, organization, "Measured", ids=ids, clock=clock)
    finally:
        engine.dispose()
    return Place(path, organization, made.project_id, made.api_key)


def open_part(path: Path, name: str) -> PartContext:
    """Open a part of the service on a data folder, whatever the environment says.

    The buckets of all measures are on this machine.
    """
    folder = DataFolder(path)
    folder.check()
    environment = {"TAILRACE_EXPORT_PRIVATE_ENDPOINTS": "true"}
    return PartContext(folder, load(folder.path, environment).settings, name)


def sync_nothing(engine: Engine) -> None:
    """Let a database's connections wait for no disk, for what is only the scene of a measure."""

    def prepare(connection: DBAPIConnection, _entry: object, _proxy: object) -> None:
        connection.cursor().execute("PRAGMA synchronous = OFF")

    sa.event.listen(engine, "checkout", prepare)


def touch_memory(folder: Path) -> None:
    """Write a large file once and remove it, so that the page cache has been used before.

    A virtual machine gets its memory from the host page by page; the first write to such a page
    costs several times what a later one does, and would be charged to whoever comes first.
    """
    scratch = folder / "scratch"
    block = bytes(_BLOCK_BYTES)
    with scratch.open("wb", buffering=0) as file:
        for _ in range(_TOUCHED_BYTES // _BLOCK_BYTES):
            file.write(block)
    scratch.unlink()
