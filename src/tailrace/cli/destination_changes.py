"""`destination edit` and `destination delete`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
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
from tailrace.cli.destination_shown import Shown, place_text, shown_of, types_of
from tailrace.cli.destinations import (
    DestinationArgument,
    destination_app,
    open_destinations,
)
from tailrace.cli.output import (
    DATA_DEFAULT,
    FAILED,
    DataOption,
    JsonOption,
    print_json,
    print_lines,
)
from tailrace.cli.terminated import ending_in_order
from tailrace.cli.verification import follow, print_trouble, stored_policy, wanted_policy
from tailrace.errors import BadRequest
from tailrace.notify.amounts import counted, run_word
from tailrace.settings import Settings, load

if TYPE_CHECKING:
    from tailrace.app.editing import DeletionPlan, Edited, Editor


class _Begun(msgspec.Struct, frozen=True):
    data_type: str
    hour: str
    files: int


class _Edited(msgspec.Struct, frozen=True):
    """How an edit ended; `passed` and `verification` are null where nothing had to be probed."""

    destination: Shown
    changed: tuple[str, ...]
    passed: bool | None
    missing_actions: tuple[str, ...]
    begun_at_the_old_place: tuple[_Begun, ...]
    left_behind: tuple[str, ...]
    verification: Any


class _Deleted(msgspec.Struct, frozen=True):
    """What a deletion gave up, in runs and manual exports."""

    destination: Shown
    runs_cancelled: int
    missed_hours: int
    manual_exports_cancelled: int
    left_behind: tuple[str, ...]


def register(_: typer.Typer) -> None:
    """Add the commands to those of `destination`."""
    destination_app.command("edit")(_edit)
    destination_app.command("delete")(_delete)


def _edit(
    destination: DestinationArgument,
    name: NameOption = None,
    bucket: Annotated[str | None, typer.Option(help="Another bucket.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Begin every key with this; empty for no prefix.")
    ] = None,
    endpoint_url: EndpointOption = None,
    region: Annotated[str | None, typer.Option(help="Region of the bucket.")] = None,
    access_key_id: KeyIdOption = None,
    secret_access_key_file: SecretFileOption = None,
    role_arn: RoleOption = None,
    external_id: ExternalIdOption = None,
    operator_access: Annotated[
        bool, typer.Option("--operator-access", help="The operator's own principal.")
    ] = False,
    encryption: EncryptionOption = None,
    kms_key: KmsKeyOption = None,
    include: Annotated[
        str | None,
        typer.Option(metavar="TYPES", help="events, merged-ids, or both with a comma."),
    ] = None,
    manifest: Annotated[
        bool | None, typer.Option("--manifest/--no-manifest", help="Put a manifest of each hour.")
    ] = None,
    marker: Annotated[
        bool | None,
        typer.Option("--marker/--no-marker", help="Put a marker when an hour is complete."),
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Change a destination; another place, access or encryption is kept if probes of it pass."""
    from tailrace.app.destinations import Access
    from tailrace.app.editing import Edit

    types = None if include is None else types_of(include)
    access = access_of(access_key_id, secret_access_key_file, role_arn, external_id)
    if operator_access and access is not None:
        raise BadRequest("--operator-access goes with no key and no role.")
    if operator_access:
        access = Access()
    given = {
        "name": name,
        "bucket": bucket,
        "prefix": prefix,
        "region": region,
        "access": access,
        "kms_key_arn": kms_key,
        "include_events": None if types is None else "events" in types,
        "include_merged_ids": None if types is None else "merged-ids" in types,
        "manifest": manifest,
        "marker": marker,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if endpoint_url is not None:
        chosen["endpoint_url"] = endpoint_url or None
    if encryption is not None:
        chosen["encryption"] = encryption_of(encryption)
    with _open_editor(data) as (editor, settings), ending_in_order():
        edited = editor.edit(destination, Edit(**chosen), follow(json))
    _print_edited(edited, settings, json)
    if edited.verification is not None and not edited.verification.passed:
        raise typer.Exit(FAILED)


def _delete(
    destination: DestinationArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Delete a destination; what was delivered stays in its bucket, and its history here."""
    with _open_editor(data) as (editor, _):
        plan = editor.plan_deletion(destination)
        if not yes:
            _ask(plan)
        done = editor.delete(destination)
    deleted = done.deleted
    if json:
        print_json(
            _Deleted(
                destination=shown_of(deleted.destination),
                runs_cancelled=deleted.runs,
                missed_hours=plan.missed,
                manual_exports_cancelled=deleted.manual_exports,
                left_behind=done.left_behind,
            )
        )
        return
    print_lines(
        [
            *(f"left behind: {left}" for left in done.left_behind),
            f"Destination {destination} is deleted. {counted(deleted.runs, 'owed run')} will "
            f"not go out. Its runs are still shown by: tailrace runs --destination {destination}",
        ]
    )


def _ask(plan: DeletionPlan) -> None:
    number = plan.destination.id
    to = plan.destination
    owed = counted(plan.owed, run_word(to.data_types))
    what = (
        f"Destination {number} ({to.name}, "
        f"{place_text(to.bucket, to.prefix, to.endpoint_url)}) owes "
        f"{owed}, missed {plan.missed} while paused, and has "
        f"{counted(len(plan.manual_exports), 'manual export')} under way."
    )
    if not sys.stdin.isatty():
        raise BadRequest(f"{what} To give these up and delete it, add --yes.")
    typer.confirm(f"{what} Give these up and delete it?", abort=True)


def _print_edited(edited: Edited, settings: Settings, json: bool) -> None:
    shown, found = shown_of(edited.destination), edited.verification
    if json:
        print_json(
            _Edited(
                destination=shown,
                changed=edited.changed,
                passed=None if found is None else found.passed,
                missing_actions=() if found is None else found.missing_actions,
                begun_at_the_old_place=tuple(
                    _Begun(one.data_type, str(one.hour), one.files) for one in edited.begun
                ),
                left_behind=edited.left_behind,
                verification=found,
            )
        )
        return
    number = shown.destination_id
    if found is not None and not found.passed:
        policy = stored_policy(edited.destination, settings)
        if edited.wanted is not None:
            policy = wanted_policy(edited.wanted, settings)
        print_trouble(found, policy)
        if edited.changed:
            again = f"Mend this, then: tailrace verify {number}"
            print_lines([f"Destination {number} is changed and stays setting up. {again}"])
        else:
            print_lines([f"Nothing was changed: destination {number} goes on as before."])
        return
    switches = {"manifests": shown.manifest, "markers": shown.marker}
    received = [*shown.include, *(name for name, on in switches.items() if on)]
    place = place_text(shown.bucket, shown.prefix, shown.endpoint_url)
    print_lines(
        [
            *(f"left behind: {left}" for left in edited.left_behind),
            *(
                f"begun at the old place: {counted(one.files, 'file')} of {one.data_type} of "
                f"{one.hour}; the whole hour goes to the new one"
                for one in edited.begun
            ),
            f"Destination {number} ({shown.name}) is {shown.state.replace('_', ' ')}: "
            f"{', '.join(received)} go to {place}",
        ]
    )


@contextmanager
def _open_editor(data: Path) -> Iterator[tuple[Editor, Settings]]:
    from tailrace.app.destinations import open_clients, open_secrets
    from tailrace.app.editing import Editor
    from tailrace.clock import SystemClock

    with open_destinations(data) as (folder, destinations):
        settings = load(folder.path, os.environ).settings
        editor = Editor(
            destinations,
            open_clients(folder, settings),
            open_secrets(folder),
            settings,
            machine=SystemClock(),
            sleep=time.sleep,
        )
        yield editor, settings
