"""`Closer`: makes files from what is committed and seals the hours that the domain has left.

Driven by the processor's main thread: `recover` once at start, `step` after every round. All
commits happen there; only joining runs beside it. The order of the commits is what makes a crash
harmless: file, row, sealed hour, ledger, mark, packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from tailrace import killpoints
from tailrace.archive.folder import FolderArchive
from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.seal.files import Damaged, FilePlan, first_file
from tailrace.seal.handing import CLOSED_THROUGH, Handing, HandOver
from tailrace.seal.joining import Joining, Made
from tailrace.seal.manifest import digest, fault, record_bytes, seal_record
from tailrace.seal.names import NO_NUMBER, scope_text
from tailrace.seal.waiting import Waiting
from tailrace.state import closing, merges, sealing
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_rows import ChunkRow, pack_is_named
from tailrace.state.sealed import SealedHour

# Scopes sealed, and files recorded, in one transaction: enough to share its cost, few enough that
# it takes some tens of milliseconds of the loop's time.
SCOPES_PER_COMMIT = 500
FILES_PER_COMMIT = 500
# Chunk rows held in memory for one batch of files, some 10 MiB.
CHUNKS_PER_BATCH = 20_000

# Of the hours up to `CLOSED_THROUGH` the newest without any alarm before or in it: log segments up
# to this one are needed no more.
SEALED_THROUGH = "sealed_through"


class Closer:
    """Seal hours in order, oldest first, in steps of bounded work."""

    def __init__(
        self,
        store: ProcessingStore,
        archive: FolderArchive,
        ledger: HandOver,
        *,
        epoch: int,
        partition_bytes: int,
        partitions: Callable[[], Iterable[int]],
        early: bool = True,
    ) -> None:
        """Work as the processor of `epoch`; `partitions` lists the log's that are not retired.

        With `early` a file is owed from the moment its row is committed, also while its hour is
        open; without, files go to the ledger with their sealed hour.
        """
        self._store = store
        self._connection = store.connection
        self._archive = archive
        self._epoch = epoch
        self._partition_bytes = partition_bytes
        self._partitions = partitions
        self._joining = Joining(store, archive, epoch)
        self._waiting = Waiting(store, partition_bytes)
        self._handing = Handing(store, ledger, epoch)
        self._early = early

    def recover(self) -> None:
        """Hand over what a crash left, and let alarmed hours be tried again; call before `step`.

        Raises `NeedsOperator` or `Corrupt` where the ledger knows hours that this database does
        not: one of the two was restored from a backup.
        """
        self._handing.compare()
        self._handing.reopen()
        with self._store.owned_transaction(self._epoch) as connection:
            closing.unblock(connection)
            alarmed = closing.oldest_alarm_hour(connection)
            closed = sealing.read_number(connection, CLOSED_THROUGH)
            if alarmed is not None and closed is not None:
                sealing.write_number(connection, CLOSED_THROUGH, min(closed, alarmed - 1))
        if self._early:
            self._handing.files()
        self._handing.hours()

    @property
    def joining(self) -> bool:
        """Whether a file is being made: `step` finds more to do soon."""
        return self._joining.running

    def step(self) -> bool:
        """Do one bounded piece of work; return False if there was none to do now.

        Raises `OSError` and the errors of SQLite and of the ledger: the process must end then and
        start again from what is committed.
        """
        if self._joining.running:
            if not self._joining.done:
                return False
            self._record(self._joining.take())
            return True
        hour = self._hour_to_close()
        if hour is not None:
            self._close_some(hour)
            return True
        return self._begin_early_file()

    def finish(self) -> None:
        """Step until nothing is left to do, waiting for the files under way."""
        while self.step() or self._joining.running:
            self._joining.wait()

    def close(self) -> None:
        """Wait for the file under way and leave it without a row; writes nothing else."""
        self._joining.close()

    def _hour_to_close(self) -> Hour | None:
        left = self._store.left_through(self._partitions())
        if left is None:
            return None
        closed = sealing.read_number(self._connection, CLOSED_THROUGH)
        if closed is None:
            oldest = closing.oldest_hour_with_events(self._connection, after=None)
            if oldest is None:
                return None
            closed = oldest - 1
        return Hour(closed + 1) if closed < left.number else None

    def _close_some(self, hour: Hour) -> None:
        plans = self._plans_of(hour) or self._merge_plans_of(hour)
        if plans:
            self._joining.begin(plans)
        else:
            self._seal_group(hour)

    def _merge_plans_of(self, hour: Hour) -> list[FilePlan]:
        return [
            FilePlan(-organization, organization, hour, NO_NUMBER, ())
            for organization in merges.without_file(self._connection, hour.number, FILES_PER_COMMIT)
        ]

    def _plans_of(self, hour: Hour) -> list[FilePlan]:
        """Plan the next files of an hour: one of a large project, or those of many small ones."""
        plans: list[FilePlan] = []
        size = count = 0
        rows = sealing.chunks_of_hour(self._connection, hour.number)
        for project, chunks in groupby(rows, key=lambda chunk: chunk.project):
            taken = first_file(chunks, self._partition_bytes)
            plans.append(self._plan(project, hour, taken))
            size += sum(chunk.length for chunk in taken)
            count += len(taken)
            full = size >= self._partition_bytes or count >= CHUNKS_PER_BATCH
            if full or len(plans) >= FILES_PER_COMMIT:
                break
        return plans

    def _begin_early_file(self) -> bool:
        self._waiting.look()
        key = self._waiting.take_full()
        if key is None:
            return False
        project, hour = key
        chunks = sealing.chunks_of(self._connection, project, hour)
        taken = first_file(chunks, self._partition_bytes)
        self._joining.begin([self._plan(project, Hour(hour), taken)])
        return True

    def _plan(self, project: int, hour: Hour, chunks: Sequence[ChunkRow]) -> FilePlan:
        counts = closing.project_hour(self._connection, project, hour.number)
        if counts is None:
            raise Corrupt(
                f"Cannot seal hour {hour} of project {project}: it has lines but no accounting. "
                "Restore the data folder from a backup."
            )
        number = sealing.file_number_max(self._connection, project, hour.number) + 1
        return FilePlan(project, counts.organization, hour, number, tuple(chunks))

    def _record(self, made: Sequence[Made]) -> None:
        """Commit the rows of durable files; from here on they are read and never made again."""
        with self._store.owned_transaction(self._epoch) as connection:
            for plan, file in made:
                if isinstance(file, Damaged):
                    closing.raise_alarm(connection, plan.scope, plan.hour.number, file.sentence)
                else:
                    ids = [chunk.id for chunk in plan.chunks]
                    sealing.add_file(connection, file, plan.organization, ids)
        killpoints.reached("seal.rows")
        self._joining.release()
        for plan, file in made:
            key = (plan.scope, plan.hour.number)
            if isinstance(file, Damaged):
                self._waiting.forget(key)
            else:
                self._waiting.recount(key)
        # What is less than a file's size is the rest of an hour that ends, and goes with it: handed
        # over before, each small file would be taken, and its hour looked at, twice.
        size = sum(file.size_bytes for _, file in made if not isinstance(file, Damaged))
        if self._early and size >= self._partition_bytes:
            self._handing.files()
        self._remove_packs({chunk.pack for plan, _ in made for chunk in plan.chunks})

    def _remove_packs(self, packs: Iterable[str]) -> None:
        # Only packs whose rows went in a commit that is durable: a pack that is just being
        # committed has no rows yet either.
        for pack in sorted(packs):
            if not pack_is_named(self._connection, pack):
                self._archive.remove_pack(pack)

    def _seal_group(self, hour: Hour) -> None:
        due = closing.due_scopes(self._connection, hour.number, SCOPES_PER_COMMIT)
        with self._store.owned_transaction(self._epoch) as connection:
            for scope in due:
                self._seal(hour, scope)
            if len(due) < SCOPES_PER_COMMIT:
                closed = self._closed_through(hour)
                alarmed = closing.oldest_alarm_hour(connection)
                through = closed if alarmed is None else min(closed, alarmed - 1)
                sealing.write_number(connection, CLOSED_THROUGH, closed)
                sealing.write_number(connection, SEALED_THROUGH, through)
        killpoints.reached("seal.hour")
        self._handing.hours()
        if len(due) < SCOPES_PER_COMMIT:
            self._waiting.forget_through(hour.number)

    def _closed_through(self, hour: Hour) -> int:
        """Return the hour through which nothing is left once `hour` is sealed.

        While every scope is quiet, the hours up to the next event are passed at once.
        """
        if closing.any_scope_awake(self._connection, hour.number + 1):
            return hour.number
        left = self._store.left_through(self._partitions())
        if left is None:
            # A partition was added since this hour was found to be left; the next step asks anew.
            return hour.number
        oldest = closing.oldest_hour_with_events(self._connection, after=hour.number)
        until = left.number if oldest is None else min(left.number, oldest - 1)
        return max(hour.number, until)

    def _seal(self, hour: Hour, due: closing.DueScope) -> None:
        if due.scope > 0:
            counts = closing.project_hour(self._connection, due.scope, hour.number)
            dates = closing.event_dates(self._connection, due.scope, hour.number)
        else:
            counts = merges.accounting(self._connection, due.organization, hour.number)
            dates = merges.dates(self._connection, due.organization, hour.number)
        files = sealing.files_of(self._connection, due.scope, hour.number)
        record = seal_record(due, hour, counts, dates, files)
        reason = fault(record)
        if reason is not None:
            closing.raise_alarm(
                self._connection,
                due.scope,
                hour.number,
                f"Cannot seal hour {hour} of {scope_text(due.scope)}: {reason}. Its later hours "
                "wait as well; no line is lost. Keep the data folder as it is and report this.",
            )
            return
        body = record_bytes(record)
        sealed = SealedHour(due.scope, due.organization, hour, body, digest(body), files)
        closing.add_hour(self._connection, sealed, due)
