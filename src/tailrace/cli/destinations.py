"""`destination add`, `destination change`, `destination list` and `verify`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tailrace.cli.output import (
    DATA_DEFAULT,
    FAILED,
    DataOption,
    JsonOption,
    open_folder,
    print_json,
    print_lines,
    print_table,
)
from tailrace.cli.verification import follow, print_ending
from tailrace.errors import BadRequest
from tailrace.folder import DataFolder
from tailrace.settings import load

if TYPE_CHECKING:
    from tailrace.export.verify import Verification
    from tailrace.state.delivery import Destination
    from tailrace.state.destinations import Destinations

DATA_TYPES = ("events", "merged-ids")

destination_app = typer.Typer(help="Buckets that receive a project's hours.", no_args_is_help=True)
add_app = typer.Typer(help="Add a destination.", no_args_is_help=True)


IncludeOption = Annotated[
    str, typer.Option(metavar="TYPES", help="events, merged-ids, or both with a comma.")
]


class _Shown(msgspec.Struct, frozen=True):
    """A destination as scripts read it; secrets are left out."""

    destination_id: int
    state: str
    project_id: int
    bucket: str
    region: str | None
    prefix: str
    endpoint_url: str | None
    include: tuple[str, ...]
    from_hour: str | None
    outage: str | None


class _Verified(msgspec.Struct, frozen=True):
    destination: _Shown
    passed: bool
    missing_actions: tuple[str, ...]
    verification: Any


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_app.command("amazon-s3")(_add)
    destination_app.add_typer(add_app, name="add")
    destination_app.command("change")(_change)
    destination_app.command("list")(_list)
    app.add_typer(destination_app, name="destination")
    app.command("verify")(_verify)


# `add amazon-s3` is a command of a group, also while it is the only one.
@add_app.callback()
def _kinds() -> None:
    """Add a destination."""


def _add(
    project: Annotated[int, typer.Option(metavar="ID", help="Project whose events it receives.")],
    bucket: Annotated[str, typer.Option(help="Name of the bucket.")],
    region: Annotated[str, typer.Option(help="Region of the bucket, such as us-west-2.")],
    data: DataOption = DATA_DEFAULT,
    prefix: Annotated[str, typer.Option(help="Begin every key with this, such as raw/.")] = "",
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="An S3-compatible store's address.")
    ] = None,
    access_key_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Access key; without one the operator's.")
    ] = None,
    secret_access_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File that holds its secret.")
    ] = None,
    include: IncludeOption = "events",
    json: JsonOption = False,
) -> None:
    """Add an Amazon S3 (or S3-compatible) bucket and probe it; it exports once all is allowed."""
    from tailrace.app.destinations import NewBucket, add_amazon_s3

    types = _types(include)
    if (access_key_id is None) != (secret_access_key_file is None):
        raise BadRequest("--access-key-id and --secret-access-key-file go together.")
    with _open(data) as (folder, destinations):
        verified = add_amazon_s3(
            folder,
            destinations,
            load(folder.path, os.environ).settings,
            NewBucket(
                project=project,
                bucket=bucket,
                region=region,
                prefix=prefix,
                endpoint_url=endpoint_url,
                access_key_id=access_key_id,
                secret_access_key=_secret(secret_access_key_file),
                include_events="events" in types,
                include_merged_ids="merged-ids" in types,
            ),
            follow(json),
        )
        _report(destinations, verified, json)


def _change(
    destination: Annotated[int, typer.Argument(help="Number of the destination.")],
    include: IncludeOption,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Choose what a destination receives; merged IDs that are new to it come with all past ones."""
    types = _types(include)
    with _open(data) as (_, destinations):
        changed = _shown(
            destinations.include(
                destination, events="events" in types, merged_ids="merged-ids" in types
            )
        )
    if json:
        print_json(changed)
    else:
        print_lines([f"Destination {destination} now receives {' and '.join(changed.include)}."])


def _verify(
    destination: Annotated[int, typer.Argument(help="Number of the destination.")],
    region: Annotated[
        str | None, typer.Option(help="Take this as the bucket's region, if it lies there.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Probe a destination again; one that was only being set up becomes active if all passes."""
    from tailrace.app.destinations import verify_destination

    with _open(data) as (folder, destinations):
        found = destinations.get(destination)
        settings = load(folder.path, os.environ).settings
        verified = verify_destination(
            folder, destinations, settings, found, region=region, told=follow(json)
        )
        _report(destinations, verified, json)


def _list(data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> None:
    """List the destinations."""
    with _open(data) as (_, destinations):
        shown = [_shown(found) for found in destinations.list()]
    if json:
        print_json(shown)
        return
    if not shown:
        print_lines(["There is no destination yet. Add one with `tailrace destination add`."])
        return
    print_table(
        ("id", "state", "project", "bucket", "prefix", "region", "include", "from", "outage"),
        [
            (
                d.destination_id,
                d.state,
                d.project_id,
                d.bucket,
                d.prefix or "-",
                d.region or "-",
                ",".join(d.include),
                d.from_hour or "-",
                d.outage or "-",
            )
            for d in shown
        ],
    )


def _report(destinations: Destinations, verification: Verification, json: bool) -> None:
    destination = _shown(destinations.get(verification.destination_id))
    if json:
        shown = _Verified(
            destination, verification.passed, verification.missing_actions, verification
        )
        print_json(shown)
    else:
        print_ending(destination.state, destination.from_hour, destination.include, verification)
    if not verification.passed:
        raise typer.Exit(FAILED)


def _shown(destination: Destination) -> _Shown:
    outage = destination.outage_cause
    return _Shown(
        destination_id=destination.id,
        state=destination.state,
        project_id=destination.project,
        bucket=destination.bucket,
        region=destination.region,
        prefix=destination.prefix,
        endpoint_url=destination.endpoint_url,
        include=destination.data_types,
        from_hour=None if destination.from_hour is None else str(destination.from_hour),
        outage=None if outage is None else outage.sentence,
    )


def _types(include: str) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(part.strip() for part in include.split(",") if part.strip()))
    if not types or any(name not in DATA_TYPES for name in types):
        raise BadRequest(f"--include {include!r}: choose from {', '.join(DATA_TYPES)}.")
    return types


def _secret(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"Cannot read --secret-access-key-file {file}: {error}.") from error
    if not secret:
        raise BadRequest(f"--secret-access-key-file {file} is empty.")
    return secret


@contextmanager
def _open(data: Path) -> Iterator[tuple[DataFolder, Destinations]]:
    from tailrace.state.database import open_database
    from tailrace.state.destinations import Destinations

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        yield folder, Destinations(engine, clock, by="command line")
    finally:
        engine.dispose()
