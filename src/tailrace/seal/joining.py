"""`Joining`: files made beside the processor's loop, one thread, one batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tailrace.archive.folder import FolderArchive
from tailrace.seal.files import Damaged, FilePlan, make_files
from tailrace.state.processing import ProcessingStore
from tailrace.state.sealed import SealedFile

Made = tuple[FilePlan, SealedFile | Damaged]


class Joining:
    """Make the files of a batch of plans; their chunks are reserved until the batch is taken.

    One thread suffices: inflating, hashing and writing leave the interpreter free, and a file at a
    time keeps memory at one block.
    """

    def __init__(self, store: ProcessingStore, archive: FolderArchive, epoch: int) -> None:
        self._store = store
        self._epoch = epoch
        self._archive = archive
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal")
        self._plans: tuple[FilePlan, ...] = ()
        self._running: Future[list[Made]] | None = None

    @property
    def running(self) -> bool:
        """Whether a batch was begun and not taken yet."""
        return self._running is not None

    @property
    def done(self) -> bool:
        """Whether the batch can be taken without waiting."""
        return self._running is not None and self._running.done()

    def begin(self, plans: Sequence[FilePlan]) -> None:
        """Reserve the chunks and return at once; call only when nothing is running."""
        self._plans = tuple(plans)
        self._store.reserved_chunks.update(self._chunk_ids())
        self._running = self._thread.submit(
            make_files,
            self._archive,
            self._store.merges,
            self._plans,
            lambda: self._store.fence(self._epoch),
        )

    def take(self) -> list[Made]:
        """Wait for the batch and return what was made; the chunks are still reserved.

        Raises `OSError` where the disk failed, and `InUse` where another processor took over:
        nothing of the batch counts then.
        """
        if self._running is None:
            return []
        return self._running.result()

    def release(self) -> None:
        """Give the chunks free, after the files' rows are committed or the batch was given up."""
        self._store.reserved_chunks.difference_update(self._chunk_ids())
        self._plans = ()
        self._running = None

    def wait(self) -> None:
        """Return once the batch is done."""
        if self._running is not None:
            wait([self._running])

    def close(self) -> None:
        """Wait for the thread and give up its batch: without rows its files do not count."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.release()

    def _chunk_ids(self) -> set[int]:
        return {chunk.id for plan in self._plans for chunk in plan.chunks}
