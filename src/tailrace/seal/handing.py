"""`Handing`: gives committed files and sealed hours to the ledger, at least once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from tailrace import killpoints
from tailrace.errors import Corrupt, NeedsOperator
from tailrace.hours import Hour
from tailrace.state import closing, merges, sealing
from tailrace.state.processing import ProcessingStore
from tailrace.state.sealed import SealedFile, SealedHour

# The newest hour that is sealed for every scope or alarmed.
CLOSED_THROUGH = "closed_through"
# Files or hours given to the ledger in one transaction.
HANDED_PER_COMMIT = 500


class HandOver(Protocol):
    """The ledger as sealing sees it. Giving the same twice is free; a difference is `Corrupt`.

    On return what was given is durable.
    """

    def add_files(self, files: Sequence[SealedFile], organization: int) -> None:
        """Take files over, possibly while their hour is open."""
        ...

    def add_hours(self, hours: Sequence[SealedHour]) -> None:
        """Take sealed hours over, with all their files."""
        ...

    def newest_sealed(self) -> dict[int, tuple[Hour, str]]:
        """Return each scope's newest hour that was taken over, and its digest."""
        ...

    def reopen(self, scope: int, organization: int, first: Hour) -> None:
        """Forget a scope's sealed hours from `first` on, and their runs; they are sealed anew."""
        ...

    def open_files(self) -> Sequence[SealedFile]:
        """Return the files that were taken over of hours that are not sealed."""
        ...


class Handing:
    """Steps 4 and 5 of the order of commits, over whatever is not marked yet."""

    def __init__(self, store: ProcessingStore, ledger: HandOver, epoch: int) -> None:
        self._store = store
        self._ledger = ledger
        self._epoch = epoch

    def compare(self) -> None:
        """Check that the ledger knows no sealed hour, and no file, that this database does not.

        A file that was handed over early may be in a bucket already; made again from what an older
        backup knows, it could hold other lines under the same name.

        Where the ledger is the older one, what it lost is marked to be handed over again.
        """
        known = self._ledger.newest_sealed()
        own = closing.newest_links(self._store.connection)
        for scope, (hour, digest) in known.items():
            self._compare_scope(scope, hour, digest, own.get(scope))
        for file in self._ledger.open_files():
            self._compare_file(file)
        with self._store.owned_transaction(self._epoch) as connection:
            for scope, (hour, _) in own.items():
                handed_over = known[scope][0].number if scope in known else -1
                if handed_over < hour.number:
                    sealing.hand_over_again(connection, scope, handed_over)

    def reopen(self) -> None:
        """Take back the hours of merged IDs that an earlier release sealed without their merges.

        Call after `compare`. The ledger goes first: should a crash fall in between, it is the older
        one, and the next start finds the same hours here.
        """
        for organization, first in merges.sealed_without(self._store.connection):
            self._ledger.reopen(-organization, organization, first)
            with self._store.owned_transaction(self._epoch) as connection:
                closing.reopen(connection, -organization, first.number)
                closed = sealing.read_number(connection, CLOSED_THROUGH)
                if closed is not None:
                    through = min(closed, first.number - 1)
                    sealing.write_number(connection, CLOSED_THROUGH, through)

    def files(self) -> None:
        """Hand over every file that is recorded and not marked."""
        while files := sealing.files_to_hand_over(self._store.connection, HANDED_PER_COMMIT):
            for organization, group in groupby(sorted(files, key=_owner), key=_owner):
                self._ledger.add_files([file for _, file in group], organization)
            killpoints.reached("seal.handed_over")
            with self._store.owned_transaction(self._epoch) as connection:
                sealing.mark_files(connection, [file for _, file in files])
            killpoints.reached("seal.cleared")

    def hours(self) -> None:
        """Hand over every hour that is sealed and not marked, oldest first."""
        while hours := closing.hours_to_hand_over(self._store.connection, HANDED_PER_COMMIT):
            self._ledger.add_hours(hours)
            killpoints.reached("seal.handed_over")
            with self._store.owned_transaction(self._epoch) as connection:
                closing.mark_hours(connection, hours)
                sealing.mark_files(connection, [file for sealed in hours for file in sealed.files])
            killpoints.reached("seal.cleared")

    def _compare_scope(
        self, scope: int, hour: Hour, digest: str, own: tuple[Hour, str] | None
    ) -> None:
        if own is None or own[0] < hour:
            newest = "none of it" if own is None else f"it only up to {own[0]}"
            raise NeedsOperator(
                f"Cannot start the processor: the ledger holds hour {hour} of {scope}, but the "
                f"processing database knows {newest}. It was restored from an older backup; "
                "restore the whole data folder from one backup."
            )
        if closing.sealed_digest(self._store.connection, scope, hour.number) != digest:
            raise Corrupt(
                f"Cannot start the processor: hour {hour} of {scope} has another seal record in "
                "the ledger than in the processing database. They are of different histories; "
                "restore the whole data folder from one backup."
            )

    def _compare_file(self, file: SealedFile) -> None:
        own = sealing.find_file(self._store.connection, file.scope, file.hour.number, file.number)
        if own is None:
            raise NeedsOperator(
                f"Cannot start the processor: the ledger holds the file {file.name}, but the "
                "processing database knows none of that name. It was restored from an older "
                "backup; restore the whole data folder from one backup."
            )
        if own != file:
            raise Corrupt(
                f"Cannot start the processor: the file {file.name} has SHA-256 {file.sha256} in "
                f"the ledger, but {own.sha256} in the processing database. They are of different "
                "histories; restore the whole data folder from one backup."
            )


def _owner(entry: tuple[int, SealedFile]) -> int:
    return entry[0]
