"""Changing and deleting a destination, as the command line and the pages both do it.

Another bucket, prefix, endpoint, access or encryption is probed before anything is changed. Runs in
work let go first, and uploads that they began elsewhere are aborted, so that nothing is left and
nothing doubled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import UNSET, UnsetType

from tailrace.app.destinations import Access, checked_endpoint, keep_access, with_last_slash
from tailrace.clock import MICROS, Clock
from tailrace.errors import BadRequest, TailraceError, Transient
from tailrace.export.activation import verify_and_activate
from tailrace.export.bucket_names import check_bucket_name, check_region
from tailrace.export.encryption import check_encryption
from tailrace.export.multipart import abort
from tailrace.export.objects import store_of
from tailrace.export.verify import ClientSource, Told, Verification, nobody, verify
from tailrace.seal.names import check_prefix
from tailrace.settings import Settings
from tailrace.state.delivery import Capabilities, Destination, Encryption
from tailrace.state.destination_fields import ENCRYPTION, NAME, PLACE, PROBED
from tailrace.state.destinations import Destinations
from tailrace.state.editing import BegunHour, Deleted, Upload, changed
from tailrace.state.secrets import Secrets

# Runs in work hear of a hold when they renew their lease, and the lease of one whose exporter died
# runs out, both within this time. Should a command die, the hold ends by itself after it.
HOLD_SECONDS = 60
LOOK_SECONDS = 0.25


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to be different; what is not set stays.

    An endpoint of None is Amazon S3 itself, an encryption of None the bucket's default; a KMS key
    goes with its encryption. Project and kind can't be changed: that is a new destination.
    """

    name: str | UnsetType = UNSET
    bucket: str | UnsetType = UNSET
    prefix: str | UnsetType = UNSET
    endpoint_url: str | UnsetType | None = UNSET
    region: str | UnsetType = UNSET
    access: Access | UnsetType = UNSET
    encryption: Encryption | UnsetType | None = UNSET
    kms_key_arn: str | UnsetType | None = UNSET
    include_events: bool | UnsetType = UNSET
    include_merged_ids: bool | UnsetType = UNSET
    manifest: bool | UnsetType = UNSET
    marker: bool | UnsetType = UNSET


class Edited(msgspec.Struct, frozen=True):
    """How an edit ended. `changed` names the fields that are different now; none if a probe failed.

    `verification` is None where nothing had to be probed; `wanted` is what was probed where a probe
    failed and it was not kept. `begun` are hours whose files lie at the
    old place as well, without a marker; `left_behind` names uploads that could not be aborted.
    """

    destination: Destination
    changed: tuple[str, ...]
    verification: Verification | None
    begun: tuple[BegunHour, ...] = ()
    left_behind: tuple[str, ...] = ()
    wanted: Destination | None = None


class DeletionPlan(msgspec.Struct, frozen=True):
    """What a deletion would give up: owed runs, missed hours, and manual exports that go on."""

    destination: Destination
    owed: int
    missed: int
    manual_exports: tuple[int, ...]


class DeletionDone(msgspec.Struct, frozen=True):
    """What was given up; `left_behind` names uploads that could not be aborted."""

    deleted: Deleted
    left_behind: tuple[str, ...]


class Editor:
    """Change destinations. `machine` is the machine's clock; `sleep` waits for runs to let go."""

    def __init__(
        self,
        destinations: Destinations,
        clients: ClientSource,
        secrets: Secrets,
        settings: Settings,
        *,
        machine: Clock,
        sleep: Callable[[float], object],
    ) -> None:
        self._destinations = destinations
        self._clients = clients
        self._secrets = secrets
        self._settings = settings
        self._machine = machine
        self._sleep = sleep

    def edit(self, destination_id: int, edit: Edit, told: Told = nobody) -> Edited:
        """Change what is set; another place, access or encryption only if every probe passes.

        Another encryption holds from the next object on; what is there is never put again.

        A destination that is being set up is changed at once and then probed, since it exports
        nothing. For another name alone nothing is probed. Raise `BadRequest` that names the field
        and its rule, and `Transient` where runs in work do not let go in time; then nothing was
        changed. `told` hears of each probe.
        """
        seen = self._destinations.get(destination_id)
        _refuse_deleted(seen)
        wanted = self._wanted(seen, edit)
        fields = tuple(changed(seen, wanted))
        if not fields:
            raise BadRequest(
                f"Nothing to change: destination {destination_id} is so already. Say what is to be "
                "different."
            )
        if seen.state == "setting_up" and set(fields) - set(NAME):
            return self._edit_unverified(seen, wanted, fields, told)
        found = None
        if set(fields) & set(PROBED):
            self._destinations.refuse_bucket(wanted)
            found = verify(wanted, self._clients, told, kept=False)
            if not found.passed:
                return Edited(seen, (), found, wanted=wanted)
        capabilities = None if found is None else found.capabilities
        begun: tuple[BegunHour, ...] = ()
        left_behind: tuple[str, ...] = ()
        if set(fields) & set(PLACE):
            self._destinations.refuse_move(destination_id)
            with self._held(seen):
                aborted, left_behind = self._abort_uploads(seen)
                begun = self._write(seen, wanted, capabilities, aborted)
        elif set(fields) & set(ENCRYPTION):
            # A run in work would put the rest of its hour as before.
            with self._held(seen):
                self._write(seen, wanted, capabilities, ())
        else:
            self._write(seen, wanted, capabilities, ())
        now = self._destinations.get(destination_id)
        return Edited(now, fields, found, begun, left_behind)

    def plan_deletion(self, destination_id: int) -> DeletionPlan:
        """Return what a deletion would give up; change nothing."""
        found = self._destinations.get(destination_id)
        _refuse_deleted(found)
        return DeletionPlan(
            destination=found,
            owed=self._destinations.owed_runs(destination_id),
            missed=len(self._destinations.missed(destination_id)),
            manual_exports=tuple(self._destinations.manual_exports_under_way(destination_id)),
        )

    def delete(self, destination_id: int) -> DeletionDone:
        """Delete a destination; its history and what it delivered stay.

        Raise `BadRequest` for one that there is not any more, and `Transient` where runs in work do
        not let go in time; then nothing was changed.
        """
        seen = self._destinations.get(destination_id)
        _refuse_deleted(seen)
        with self._held(seen):
            aborted, left_behind = self._abort_uploads(seen)
            deleted = self._destinations.delete(
                destination_id, aborted=aborted, now_micros=self._machine.now_micros()
            )
        return DeletionDone(deleted, left_behind)

    def _edit_unverified(
        self, seen: Destination, wanted: Destination, fields: tuple[str, ...], told: Told
    ) -> Edited:
        self._write(seen, wanted, None, ())
        found = verify_and_activate(seen.id, self._destinations, self._clients, told=told)
        return Edited(self._destinations.get(seen.id), fields, found)

    def _write(
        self,
        seen: Destination,
        wanted: Destination,
        capabilities: Capabilities | None,
        aborted: tuple[Upload, ...],
    ) -> tuple[BegunHour, ...]:
        return self._destinations.edit(
            seen, wanted, capabilities, aborted=aborted, now_micros=self._machine.now_micros()
        )

    def _wanted(self, seen: Destination, edit: Edit) -> Destination:
        """Check what is set, and return the destination as it is to be."""
        given = {name: value for name, value in _set_fields(edit) if name != "access"}
        if edit.name is not UNSET:
            given["name"] = self._destinations.check_name(seen.project, edit.name, but=seen.id)
        if edit.bucket is not UNSET:
            given["bucket"] = check_bucket_name(edit.bucket)
        if edit.prefix is not UNSET:
            given["prefix"] = check_prefix(with_last_slash(edit.prefix))
        if edit.endpoint_url is not UNSET:
            given["endpoint_url"] = checked_endpoint(self._settings, edit.endpoint_url)
        if edit.access is not UNSET:
            given |= msgspec.structs.asdict(keep_access(self._secrets, edit.access))
        if given.get("encryption", "aws:kms") != "aws:kms":
            given.setdefault("kms_key_arn", None)
        wanted = msgspec.structs.replace(seen, **given)
        if wanted.region is not None and {"region", "endpoint_url"} & given.keys():
            # What is a region of another store may be none of Amazon's.
            check_region(wanted.region, wanted.endpoint_url)
        if {"region", "endpoint_url", *ENCRYPTION} & given.keys():
            check_encryption(
                wanted.encryption, wanted.kms_key_arn, wanted.region, wanted.endpoint_url
            )
        return wanted

    @contextlib.contextmanager
    def _held(self, destination: Destination) -> Iterator[None]:
        """Have every run of the destination let go; whatever is raised, all goes on as before."""
        if destination.state == "setting_up":
            yield
            return
        until = self._machine.now_micros() + HOLD_SECONDS * MICROS
        self._destinations.hold(destination.id, until)
        try:
            self._wait_until_idle(destination.id, until)
            yield
        finally:
            self._destinations.release(destination.id)

    def _wait_until_idle(self, destination_id: int, until_micros: int) -> None:
        # Time enough to abort uploads has to be left of the hold.
        last_look = until_micros - HOLD_SECONDS * MICROS // 4
        while True:
            now = self._machine.now_micros()
            in_work = self._destinations.under_way(destination_id, now).in_work
            if not in_work:
                return
            if now >= last_look:
                raise Transient(
                    f"Cannot change destination {destination_id} just now: {in_work} of its runs "
                    "are in work and do not let go. Nothing was changed; try again in a minute."
                )
            self._sleep(LOOK_SECONDS)

    def _abort_uploads(self, seen: Destination) -> tuple[tuple[Upload, ...], tuple[str, ...]]:
        """Abort at the old place what runs began there; return all, and what is left behind."""
        found = self._destinations.under_way(seen.id, self._machine.now_micros()).uploads
        left_behind = []
        for upload in found:
            try:
                abort(store_of(self._clients.of(seen), seen), upload.key, upload.upload_id)
            except (ClientError, BotoCoreError, TailraceError, ValueError):
                # Access to the old place may be the very thing that is gone.
                left_behind.append(
                    f"the multipart upload {upload.upload_id} of s3://{seen.bucket}/{upload.key}"
                )
        return found, tuple(left_behind)


def _set_fields(edit: Edit) -> Iterator[tuple[str, object]]:
    for name in edit.__struct_fields__:
        value = getattr(edit, name)
        if value is not UNSET:
            yield name, value


def _refuse_deleted(found: Destination) -> None:
    if found.state == "deleted":
        raise BadRequest(
            f"Cannot change destination {found.id}: it is deleted. Its history stays; add a new "
            "destination."
        )
