"""How destinations and their verifications are shown, to people and to scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from tailrace.cli.output import FAILED, print_json, print_lines, print_table
from tailrace.cli.times import hour_text, optional_time_text, time_text
from tailrace.cli.verification import print_outcome
from tailrace.errors import BadRequest
from tailrace.notify.amounts import counted

if TYPE_CHECKING:
    from tailrace.app.describing import Described
    from tailrace.app.switching import MissedRange
    from tailrace.export.verify import Verification
    from tailrace.settings import Settings
    from tailrace.state.delivery import Destination

DATA_TYPES = ("events", "merged-ids")


class Shown(msgspec.Struct, frozen=True):
    """A destination as scripts read it; secrets are left out."""

    destination_id: int
    state: str
    project_id: int
    name: str
    bucket: str
    region: str | None
    prefix: str
    endpoint_url: str | None
    encryption: str | None
    kms_key_arn: str | None
    include: tuple[str, ...]
    manifest: bool
    marker: bool
    from_hour: str | None
    outage: str | None


class _Verified(msgspec.Struct, frozen=True):
    destination: Shown
    passed: bool
    missing_actions: tuple[str, ...]
    verification: Any


class ShownMissed(msgspec.Struct, frozen=True):
    """Missed hours as scripts read them; `from` and `to` are the first and the last of them."""

    data_type: str
    from_: str = msgspec.field(name="from")
    to: str
    hours: int
    files: int
    lines: int
    bytes: int


class _EarlierPlace(msgspec.Struct, frozen=True):
    bucket: str
    prefix: str
    endpoint_url: str | None
    until: str


class _Described(msgspec.Struct, frozen=True):
    """All that is known of one; times are null where they do not apply."""

    destination: Shown
    organization_id: int
    access: str
    access_key_id: str | None
    role_arn: str | None
    external_id: str | None
    until_hour: str | None
    created_at: str
    created_by: str
    paused_at: str | None
    deleted_at: str | None
    outage_since: str | None
    outage_fix: str | None
    capabilities: Any
    runs: dict[str, int]
    owed: int
    missed: tuple[ShownMissed, ...]
    earlier_places: tuple[_EarlierPlace, ...]


def print_destinations(found: Sequence[Destination], json: bool) -> None:
    """Print the list of destinations."""
    shown = [shown_of(one) for one in found]
    if json:
        print_json(shown)
        return
    if not shown:
        print_lines(["There is no destination yet. Add one with `tailrace destination add`."])
        return
    print_table(
        (
            "id",
            "name",
            "state",
            "project",
            "bucket",
            "prefix",
            "region",
            "include",
            "from",
            "outage",
        ),
        [
            (
                d.destination_id,
                d.name,
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


def print_described(found: Described, json: bool) -> None:
    """Print everything about one destination."""
    from tailrace.export.encryption import encryption_words

    one = _described(found)
    if json:
        print_json(one)
        return
    to = one.destination
    access = {
        "operator": "the operator's own principal",
        "key": f"access key {one.access_key_id}",
        "role": f"role {one.role_arn}",
    }[one.access]
    off = " (off)"
    lines = [
        f"destination  {to.destination_id}, {to.state.replace('_', ' ')}",
        f"name         {to.name}",
        f"project      {to.project_id} of organization {one.organization_id}",
        f"place        {place_text(to.bucket, to.prefix, to.endpoint_url)}",
        *(
            f"             {place_text(was.bucket, was.prefix, was.endpoint_url)} until {was.until}"
            for was in one.earlier_places
        ),
        f"region       {to.region or '-'}",
        f"encryption   {encryption_words(found.destination.encryption, to.kms_key_arn)}",
        f"access       {access}",
        f"receives     {' and '.join(to.include)}",
        f"manifests    {'on' if to.manifest else 'off'}",
        f"markers      {'on' if to.marker else 'off'}",
        f"automatic    {_automatic(one)}",
        f"created      {one.created_at} by {one.created_by}",
        f"runs         {_counts(one.runs)}",
        f"owed         {one.owed}{off if to.state == 'paused' and one.owed else ''}",
    ]
    if to.outage is not None:
        lines.append(f"outage       since {one.outage_since}: {to.outage} {one.outage_fix}")
    print_lines(lines)
    print_missed(found.missed)


def print_missed(missed: Sequence[MissedRange]) -> None:
    """Print what a paused destination missed, one stretch of hours a line."""
    for one in missed:
        last = "" if one.first == one.last else f" to {one.last}"
        print_lines(
            [
                f"missed       {one.data_type} of {one.first}{last}: {counted(one.hours, 'hour')}, "
                f"{counted(one.files, 'file')}, {counted(one.lines, 'line')}, "
                f"{one.size_bytes} bytes"
            ]
        )


def report(
    destination: Destination, verification: Verification, settings: Settings, json: bool
) -> None:
    """Print how probes ended, after their steps; exit code 1 if they did not pass."""
    shown = shown_of(destination)
    if json:
        print_json(
            _Verified(shown, verification.passed, verification.missing_actions, verification)
        )
    else:
        print_outcome(destination, verification, settings)
    if not verification.passed:
        raise typer.Exit(FAILED)


def shown_of(destination: Destination) -> Shown:
    """Return a destination as scripts read it."""
    outage = destination.outage_cause
    return Shown(
        destination_id=destination.id,
        state=destination.state,
        project_id=destination.project,
        name=destination.name,
        bucket=destination.bucket,
        region=destination.region,
        prefix=destination.prefix,
        endpoint_url=destination.endpoint_url,
        encryption=destination.encryption,
        kms_key_arn=destination.kms_key_arn,
        include=destination.data_types,
        manifest=destination.manifest,
        marker=destination.marker,
        from_hour=hour_text(destination.from_hour),
        outage=None if outage is None else outage.sentence,
    )


def shown_missed(missed: Sequence[MissedRange]) -> tuple[ShownMissed, ...]:
    """Return missed hours as scripts read them."""
    return tuple(
        ShownMissed(
            data_type=one.data_type,
            from_=str(one.first),
            to=str(one.last),
            hours=one.hours,
            files=one.files,
            lines=one.lines,
            bytes=one.size_bytes,
        )
        for one in missed
    )


def types_of(include: str) -> tuple[str, ...]:
    """Read `events`, `merged-ids`, or both with a comma."""
    types = tuple(dict.fromkeys(part.strip() for part in include.split(",") if part.strip()))
    if not types or any(name not in DATA_TYPES for name in types):
        raise BadRequest(f"--include {include!r}: choose from {', '.join(DATA_TYPES)}.")
    return types


def place_text(bucket: str, prefix: str, endpoint_url: str | None) -> str:
    """Return where objects go, as people write it."""
    store = "" if endpoint_url is None else f" at {endpoint_url}"
    return f"s3://{bucket}/{prefix}{store}"


def _described(found: Described) -> _Described:
    one = found.destination
    return _Described(
        destination=shown_of(one),
        organization_id=one.organization,
        access=found.access,
        access_key_id=one.access_key_id,
        role_arn=one.role_arn,
        external_id=one.external_id,
        until_hour=hour_text(one.until_hour),
        created_at=time_text(one.created_micros),
        created_by=found.created_by,
        paused_at=optional_time_text(one.paused_micros),
        deleted_at=optional_time_text(one.deleted_micros),
        outage_since=optional_time_text(one.outage_since_micros),
        outage_fix=None if one.outage_cause is None else one.outage_cause.fix,
        capabilities=one.capabilities,
        runs={str(state): count for state, count in found.runs.items()},
        owed=found.owed,
        missed=shown_missed(found.missed),
        earlier_places=tuple(
            _EarlierPlace(
                place.bucket, place.prefix, place.endpoint_url, time_text(place.until_micros)
            )
            for place in found.earlier_places
        ),
    )


def _automatic(one: _Described) -> str:
    to = one.destination
    if to.state == "active":
        return f"on, from {to.from_hour} on"
    if to.state == "paused":
        return f"off since {one.paused_at}" if one.paused_at else "off"
    return "off: its access was never verified" if to.state == "setting_up" else "off"


def _counts(runs: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in runs.items()) or "-"
