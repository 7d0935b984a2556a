"""Make one file of an hour from what is committed: planned on the main thread, made beside it.

The lines of a project are joined from its chunks, merged IDs are rendered from their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from tailrace.archive.batch import Fence, FileBatch
from tailrace.archive.folder import FolderArchive
from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.seal.gzip import Chunk, GzipJoin
from tailrace.seal.merges import merge_chunks
from tailrace.seal.names import NO_NUMBER, file_name
from tailrace.state.merges import Line
from tailrace.state.processing_rows import ChunkRow
from tailrace.state.sealed import SealedFile

# Packs are copied in blocks of this size: large enough to cost no time, small beside the bar for
# memory.
BLOCK_BYTES = 1024 * 1024


# An organization's merges of an hour, in the order of their records; any thread may call.
MergesOf = Callable[[int, Hour], Iterator[Line]]


class FilePlan(msgspec.Struct, frozen=True):
    """A file to be made: which chunks, in which order, under which number.

    `NO_NUMBER` and no chunks are for the merges of an organization, whose hour is left.
    """

    scope: int
    organization: int
    hour: Hour
    number: int
    chunks: tuple[ChunkRow, ...]

    @property
    def name(self) -> str:
        """The file's name, which depends on the plan alone."""
        return file_name(self.scope, self.hour, self.number)


class Damaged(msgspec.Struct, frozen=True):
    """A file that could not be made because its chunks are not what was committed."""

    plan: FilePlan
    sentence: str


def make_files(
    archive: FolderArchive, merges_of: MergesOf, plans: Iterable[FilePlan], fence: Fence
) -> list[tuple[FilePlan, SealedFile | Damaged]]:
    """Put each plan's lines into the archive; on return the files are on disk, whole.

    Changes nothing but the archive, and that only inside `fence()`. Any thread may call.
    """
    with archive.new_files(fence) as batch:
        return [(plan, _make(archive, merges_of, batch, plan)) for plan in plans]


def _make(
    archive: FolderArchive, merges_of: MergesOf, batch: FileBatch, plan: FilePlan
) -> SealedFile | Damaged:
    join = GzipJoin()
    chunks: Iterable[tuple[Chunk, Iterable[bytes]]]
    if plan.number == NO_NUMBER:
        rows = merges_of(plan.organization, plan.hour)
        chunks = merge_chunks(plan.organization, rows)
    else:
        chunks = ((chunk, _read(archive, chunk)) for chunk in plan.chunks)
    blocks = join.blocks(chunks)
    path = archive.file_path(plan.scope, plan.hour, plan.name)
    try:
        batch.write(path, blocks)
    except Corrupt as error:
        return Damaged(
            plan, f"Cannot make {plan.name}: {error}. Restore the data folder from a backup."
        )
    return SealedFile(
        scope=plan.scope,
        hour=plan.hour,
        number=plan.number,
        name=plan.name,
        size_bytes=join.size_bytes,
        sha256=join.sha256,
        crc32=join.crc32,
        lines=join.lines,
        raw_bytes=join.raw_bytes,
    )


def first_file(chunks: Iterable[ChunkRow], partition_bytes: int) -> tuple[ChunkRow, ...]:
    """Return the chunks of the next file: the fewest that reach `partition_bytes`, or all."""
    taken = []
    size = 0
    for chunk in chunks:
        taken.append(chunk)
        size += chunk.length
        if size >= partition_bytes:
            break
    return tuple(taken)


def _read(archive: FolderArchive, chunk: ChunkRow) -> Iterator[bytes]:
    end = chunk.offset + chunk.length
    for offset in range(chunk.offset, end, BLOCK_BYTES):
        yield archive.read_pack(chunk.pack, offset, min(BLOCK_BYTES, end - offset))
