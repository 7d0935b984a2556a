"""`policy`: what a bucket has to allow, as JSON, as AWS CLI lines, or to read."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.output import DATA_DEFAULT, DataOption, open_folder, print_lines
from tailrace.errors import BadRequest
from tailrace.settings import Settings, load

if TYPE_CHECKING:
    from tailrace.export.policy import Place


class Form(StrEnum):
    """What the policy is printed as."""

    text = "text"
    json = "json"
    cli = "cli"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("policy")(_policy)


def _policy(
    destination: Annotated[
        int | None,
        typer.Argument(
            metavar="[DESTINATION]",
            help="Number of the destination; or give a bucket.",
        ),
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(help="Name of a bucket that is no destination yet.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Its region; tells the partition of ARNs.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="What every key is to begin with, such as raw/.")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="An S3-compatible store's address.")
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option(
            metavar="ARN", help="Who is let in; else the destination's role, or aws.principal_arn."
        ),
    ] = None,
    kms_key: Annotated[
        str | None,
        typer.Option("--kms-key", metavar="ARN", help="KMS key under which objects are put there."),
    ] = None,
    key: Annotated[
        bool, typer.Option("--key", help="What the policy of the KMS key needs, instead.")
    ] = False,
    form: Annotated[
        Form, typer.Option("--format", help="To read, the policy alone, or AWS CLI lines.")
    ] = Form.text,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Print the bucket policy that an export needs, for exactly this bucket, prefix, principal."""
    from tailrace.export.key_policy import key_lines
    from tailrace.export.policy import as_cli_lines, as_json, bucket_policy, key_statement

    of_bucket = (bucket, region, prefix, endpoint_url, kms_key)
    if destination is not None:
        if any(given is not None for given in of_bucket):
            raise BadRequest(
                "Name a destination, or give --bucket with --region, --prefix, --endpoint-url and "
                "--kms-key; not both."
            )
        at = _stored(data, destination, principal)
    else:
        at = _given(data, bucket, region, prefix, endpoint_url, principal, kms_key)
    if key and not at.kms_key:
        raise BadRequest(
            "--key goes with a KMS key on Amazon S3, and none is named: give --kms-key with "
            "--bucket, or a destination with the encryption aws:kms."
        )
    if form is Form.cli:
        lines = key_lines(at) if key else as_cli_lines(at)
        print_lines(lines.splitlines())
        if at.kms_key and not key:
            print_lines(["", *key_lines(at).splitlines()])
    elif form is Form.json:
        print_lines(as_json(key_statement(at) if key else bucket_policy(at)).splitlines())
    elif key:
        print_lines(_of_key(at))
    else:
        _print_explained(at)


def _stored(data: Path, destination: int, principal: str | None) -> Place:
    from tailrace.app.policy import place_of
    from tailrace.state.database import open_database
    from tailrace.state.destinations import Destinations

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        found = Destinations(engine, clock).get(destination)
    finally:
        engine.dispose()
    return place_of(load(folder.path, os.environ).settings, found, principal)


def _given(
    data: Path,
    bucket: str | None,
    region: str | None,
    prefix: str | None,
    endpoint_url: str | None,
    principal: str | None,
    kms_key: str | None,
) -> Place:
    from tailrace.app.policy import place_for

    if bucket is None:
        raise BadRequest("Name a destination, or give --bucket. `tailrace destination list`.")
    if region is None:
        raise BadRequest("--bucket goes with --region, which tells the partition of ARNs.")
    return place_for(
        _settings(data),
        bucket=bucket,
        region=region,
        prefix=prefix or "",
        endpoint_url=endpoint_url,
        principal=principal,
        kms_key=kms_key,
    )


def _settings(data: Path) -> Settings:
    # A policy may be made before there is a data folder; the environment counts then as well.
    return load(data.resolve(), os.environ).settings


def _print_explained(at: Place) -> None:
    from tailrace.export.policy import GRANTS, KEY_ACTIONS, as_json, bucket_policy

    of_key = [
        "If the bucket encrypts with a KMS key, the policy of the key has to allow "
        f"{' and '.join(KEY_ACTIONS)} as well.",
    ]

    print_lines(
        [
            f"Lets {at.principal} export to s3://{at.bucket}/{at.prefix}",
            "",
            *as_json(bucket_policy(at)).splitlines(),
            "",
            "What each action is for:",
            *(f"  {grant.action:<25} {grant.why}" for grant in GRANTS),
            "",
            "If the principal is of another account than the bucket, it needs these actions in its "
            "own policy as well.",
            *([] if at.kms_key else of_key),
            "A bucket that has a policy keeps it: add the statements to it.",
            *(["", *_of_key(at)] if at.kms_key else []),
        ]
    )


def _of_key(at: Place) -> list[str]:
    from tailrace.export.policy import KEY_GRANTS, as_json, key_statement

    return [
        f"Add this to the policy of the KMS key {at.kms_key}:",
        "",
        *as_json(key_statement(at)).splitlines(),
        "",
        *(f"  {action:<25} {why}" for action, why in KEY_GRANTS),
    ]
