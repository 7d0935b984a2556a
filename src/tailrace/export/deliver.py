"""One delivery: the files of an hour, then its manifest, then its marker, each only if absent.

Called by the exporter's workers, which decide what a failure means for the run.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from typing import BinaryIO, Literal

import msgspec
from isal import isal_zlib

from tailrace import killpoints
from tailrace.clock import MICROS, Clock
from tailrace.errors import Halted, LeaseLost, NeedsOperator, Transient
from tailrace.export.bucket import put_if_absent, put_replacing
from tailrace.export.multipart import abort
from tailrace.export.objects import Item, ObjectConflict, Store, item_of_bytes, look
from tailrace.export.transport import alive
from tailrace.hours import Hour
from tailrace.state.delivery import AUTOMATIC, DeliveredHow, Delivery, Destination
from tailrace.state.ledger import Ledger
from tailrace.state.sealed import SealedFile, SealedHour

# How long a run stays ours after the last sign of life: longer than the time between renewals and
# the silence that a request may meet, together. A crashed exporter's runs wait this long.
LEASE_SECONDS = 35
# While bytes flow, either way, the lease is extended this often.
RENEW_SECONDS = 10

Ending = Literal["success", "waiting", "halted", "cancelled"]
OpenFile = Callable[[int, Hour, str], BinaryIO]


class Stopped(Transient):
    """The service is stopping; the run is let go and taken again after the start."""


class Dropped(NeedsOperator):
    """The archive has dropped a file of the hour, and the bucket does not hold it either."""


class Layout(msgspec.Struct, frozen=True):
    """Keys and manifest as sealing defines them, handed in because `export` knows no `seal`."""

    file_key: Callable[[str, int, Hour, int], str]
    manifest_key: Callable[[str, int, Hour], str]
    marker_key: Callable[[str, int, Hour], str]
    manifest_body: Callable[[bytes, str, str], bytes]


class LeaseHold:
    """The right to a run, extended while work goes on. Used by one thread."""

    def __init__(
        self, ledger: Ledger, held: Delivery, machine: Clock, stopping: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._held = held
        self._machine = machine
        self._stopping = stopping
        self._renew_at = machine.now_micros() + RENEW_SECONDS * MICROS

    def check(self) -> None:
        """Extend the lease; raise `LeaseLost`, `Stopped` or `Halted`."""
        if self._stopping():
            raise Stopped("The exporter is stopping.")
        now = self._machine.now_micros()
        self._ledger.renew(self._held, now + LEASE_SECONDS * MICROS, now_micros=now)
        self._renew_at = now + RENEW_SECONDS * MICROS

    def go_on(self) -> None:
        """Raise `Stopped` at a shutdown; extend the lease, as `check` does, if that is due."""
        if self._stopping() or self._machine.now_micros() >= self._renew_at:
            self.check()

    def keep(self) -> None:
        """Extend the lease if that is due; whether it is lost, the next `check` says.

        Called in the middle of an answer, which is wanted whole: it may hold an upload's ID.
        """
        if self._machine.now_micros() >= self._renew_at:
            now = self._machine.now_micros()
            with contextlib.suppress(LeaseLost, Halted):
                self._ledger.renew(self._held, now + LEASE_SECONDS * MICROS, now_micros=now)
                self._renew_at = now + RENEW_SECONDS * MICROS

    def upload_started(self, key: str, upload_id: str) -> None:
        """Store the upload in the run's row."""
        self._ledger.upload_started(self._held, key, upload_id)

    def upload_ended(self) -> None:
        """Remove the upload from the run's row."""
        self._ledger.upload_ended(self._held)


class Run:
    """One claimed run on its way. `key` is the object it is at, for whoever explains a failure."""

    def __init__(
        self,
        held: Delivery,
        destination: Destination,
        store: Store,
        ledger: Ledger,
        layout: Layout,
        open_file: OpenFile,
        clock: Clock,
        hold: LeaseHold,
    ) -> None:
        self.key: str | None = None
        self._held = held
        self._prefix = destination.prefix
        self._destination = destination
        self._store = store
        self._ledger = ledger
        self._layout = layout
        self._open_file = open_file
        self._clock = clock
        self._hold = hold

    def deliver(self) -> Ending:
        """Put what is known of the hour, and if it is sealed, manifest and marker.

        Return `waiting` where the hour is open and its files so far are delivered. Raise what
        `put_if_absent` raises, `Dropped`, `LeaseLost`, `Stopped` and `Halted`.
        """
        with alive(self._hold.keep):
            return self._deliver()

    def withdraw(self) -> None:
        """End the run because its manual export was cancelled; no upload is left in the bucket."""
        with alive(self._hold.keep):
            upload = self._ledger.upload_of(self._held)
            if upload is not None:
                self.key, upload_id = upload
                abort(self._store, self.key, upload_id)
                self._ledger.upload_ended(self._held)
            self._ledger.cancelled(self._held)

    def _deliver(self) -> Ending:
        self._abort_left_over()
        # Read before the files, so that a sealed hour's list is complete.
        sealed = self._ledger.sealed_hour(self._held.scope, self._held.hour)
        left = [file for file, done in self._ledger.files(self._held) if not done]
        if self._held.manual_export != AUTOMATIC:
            left = self._without_dropped(left)
        for file in left:
            self._put_file(file)
        if sealed is None:
            self._ledger.waiting(self._held)
            return "waiting"
        self._conclude(sealed)
        self.key = None
        self._ledger.succeeded(self._held, self._clock.now_micros())
        return "success"

    def _abort_left_over(self) -> None:
        if self._held.upload_key is None or self._held.upload_id is None:
            return
        self.key = self._held.upload_key
        abort(self._store, self._held.upload_key, self._held.upload_id)
        self._hold.upload_ended()

    def _without_dropped(self, files: list[SealedFile]) -> list[SealedFile]:
        """Return the files that can be read; the others must be in the bucket, or raise `Dropped`.

        Only a manual export meets them: what is owed otherwise is never dropped. One that was put
        back into the archive is read.
        """
        dropped = self._ledger.dropped_files(self._held)
        kept = []
        for file in files:
            item = self._item(file)
            if file.number not in dropped or _can_be_read(item):
                kept.append(file)
            elif self._is_there(item):
                self._note_delivered(file, "found")
            else:
                raise Dropped(
                    f"Cannot export {file.hour} of {file.scope}: the archive has dropped "
                    f"{file.name}, and s3://{self._store.bucket}/{item.key} does not hold it. "
                    "Put the file back into the archive from a backup."
                )
        return kept

    def _is_there(self, item: Item) -> bool:
        self.key = item.key
        try:
            return look(self._store, item) is not None
        except ObjectConflict:
            if self._held.overwrite:
                return False
            raise

    def _put_file(self, file: SealedFile) -> None:
        item = self._item(file)
        self.key = item.key
        if self._held.overwrite:
            self._hold.check()
        else:
            self._hold.go_on()
        how = self._put(item)
        killpoints.reached("export.put")
        self._note_delivered(file, how)

    def _note_delivered(self, file: SealedFile, how: DeliveredHow) -> None:
        now = self._clock.now_micros()
        self._ledger.file_delivered(self._held, file.number, self._key_of(file), how, now)

    def _key_of(self, file: SealedFile) -> str:
        return self._layout.file_key(self._prefix, file.scope, file.hour, file.number)

    def _item(self, file: SealedFile) -> Item:
        return Item(
            key=self._key_of(file),
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            crc32=file.crc32,
            open=lambda: self._open_file(file.scope, file.hour, file.name),
        )

    def _put(self, item: Item) -> DeliveredHow:
        put = put_replacing if self._held.overwrite else put_if_absent
        return put(self._store, item, self._hold)

    def _conclude(self, sealed: SealedHour) -> None:
        scope, hour = sealed.scope, sealed.hour
        if self._destination.manifest:
            body = self._layout.manifest_body(sealed.record, sealed.digest, self._prefix)
            key = self._layout.manifest_key(self._prefix, scope, hour)
            self._put_bytes(key, body, "application/json")
            killpoints.reached("export.manifest")
        if self._destination.marker:
            key = self._layout.marker_key(self._prefix, scope, hour)
            self._put_bytes(key, b"", "application/octet-stream")

    def _put_bytes(self, key: str, body: bytes, content_type: str) -> None:
        self.key = key
        self._hold.check()
        sha256 = hashlib.sha256(body).hexdigest()
        item = item_of_bytes(key, body, sha256, isal_zlib.crc32(body), content_type)
        self._put(item)


def _can_be_read(item: Item) -> bool:
    try:
        item.open().close()
    except FileNotFoundError:
        return False
    return True
