"""`destination add`, `list` and `show`, and `verify`; `edit` and `delete` are in their own file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.destination_options import (
    EncryptionOption,
    EndpointOption,
    ExternalIdOption,
    KeyIdOption,
    KmsKeyOption,
    NameOption,
    RoleOption,
    SecretFileOption,
    access_of,
    encryption_of,
)
from tailrace.cli.destination_shown import (
    print_described,
    print_destinations,
    report,
    types_of,
)
from tailrace.cli.output import (
    DATA_DEFAULT,
    DataOption,
    JsonOption,
    open_folder,
)
from tailrace.cli.terminated import ending_in_order
from tailrace.cli.verification import follow
from tailrace.folder import DataFolder
from tailrace.settings import load

if TYPE_CHECKING:
    from tailrace.state.destinations import Destinations

destination_app = typer.Typer(help="Buckets that receive a project's hours.", no_args_is_help=True)
add_app = typer.Typer(help="Add a destination.", no_args_is_help=True)

DestinationArgument = Annotated[
    int, typer.Argument(metavar="DESTINATION", help="Number of the destination.")
]
IncludeOption = Annotated[
    str, typer.Option(metavar="TYPES", help="events, merged-ids, or both with a comma.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_app.command("amazon-s3")(_add)
    destination_app.add_typer(add_app, name="add")
    destination_app.command("list")(_list)
    destination_app.command("show")(_show)
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
    name: NameOption = None,
    prefix: Annotated[str, typer.Option(help="Begin every key with this, such as raw/.")] = "",
    endpoint_url: EndpointOption = None,
    access_key_id: KeyIdOption = None,
    secret_access_key_file: SecretFileOption = None,
    role_arn: RoleOption = None,
    external_id: ExternalIdOption = None,
    encryption: EncryptionOption = None,
    kms_key: KmsKeyOption = None,
    include: IncludeOption = "events",
    manifest: Annotated[
        bool, typer.Option("--manifest/--no-manifest", help="Put a manifest of each hour.")
    ] = True,
    marker: Annotated[
        bool, typer.Option("--marker/--no-marker", help="Put a marker when an hour is complete.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Add an Amazon S3 (or S3-compatible) bucket and probe it; it exports once all is allowed."""
    from tailrace.app.destinations import Access, NewBucket, add_amazon_s3

    types = types_of(include)
    access = access_of(access_key_id, secret_access_key_file, role_arn, external_id)
    with open_destinations(data) as (folder, destinations), ending_in_order():
        settings = load(folder.path, os.environ).settings
        verified = add_amazon_s3(
            folder,
            destinations,
            settings,
            NewBucket(
                project=project,
                name=name,
                bucket=bucket,
                region=region,
                prefix=prefix,
                endpoint_url=endpoint_url or None,
                access=access or Access(),
                include_events="events" in types,
                include_merged_ids="merged-ids" in types,
                manifest=manifest,
                marker=marker,
                encryption=encryption_of(encryption),
                kms_key_arn=kms_key,
            ),
            follow(json),
        )
        report(destinations.get(verified.destination_id), verified, settings, json)


def _verify(
    destination: DestinationArgument,
    region: Annotated[
        str | None, typer.Option(help="Take this as the bucket's region, if it lies there.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Probe a destination again; one that was only being set up becomes active if all passes."""
    from tailrace.app.destinations import verify_destination

    with open_destinations(data) as (folder, destinations), ending_in_order():
        found = destinations.get(destination)
        settings = load(folder.path, os.environ).settings
        verified = verify_destination(
            folder, destinations, settings, found, region=region, told=follow(json)
        )
        report(destinations.get(destination), verified, settings, json)


def _list(
    project: Annotated[
        int | None, typer.Option(metavar="ID", help="Only those of this project.")
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones as well.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """List the destinations."""
    from tailrace.state.delivery import LIVING_STATES

    states = (*LIVING_STATES, "deleted") if deleted else LIVING_STATES
    with open_destinations(data) as (_, destinations):
        print_destinations(destinations.list(project=project, states=states), json)


def _show(
    destination: DestinationArgument, data: DataOption = DATA_DEFAULT, json: JsonOption = False
) -> None:
    """Show all about one destination: where it goes, what it receives, owes and missed."""
    from tailrace.app.describing import describe

    with open_destinations(data) as (_, destinations):
        found = describe(destinations.engine, destinations.clock, destination)
    print_described(found, json)


@contextmanager
def open_destinations(data: Path) -> Iterator[tuple[DataFolder, Destinations]]:
    """Open the destinations of a data folder."""
    from tailrace.state.database import open_database
    from tailrace.state.destinations import Destinations

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        yield folder, Destinations(engine, clock, by="command line")
    finally:
        engine.dispose()
