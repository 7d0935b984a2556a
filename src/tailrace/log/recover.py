"""Recovery: what a writer does to its partition before its first append.

Everything that may have been answered with 200 lies before the highest known end; damage there
stops the start. Behind it lies only what was never answered, which is kept as far as it is whole.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tailrace import killpoints
from tailrace.errors import Corrupt
from tailrace.files import AppendFile, Files
from tailrace.log import segment as segments
from tailrace.log.end import NOTHING, End, EndFile, read_end
from tailrace.log.frame import FINAL, GROUP, BadFrame, find_group_ends, group_end, read_frames
from tailrace.log.segment import Listing, Segment, create_segment, list_segments, segment_end

# Big enough for the disk's full speed, small against the memory that a process may use.
BLOCK_BYTES = 4 * 1024 * 1024


class Found(msgspec.Struct, frozen=True):
    """What a scan of the newest segments found.

    `end` is the end of the last whole frame, `known_end` the highest end that was known durable,
    `file_end` the position of the file's last byte, `final` whether the last entry is the final
    one.
    """

    end: End
    known_end: int
    file_end: int
    final: bool


class Recovered(msgspec.Struct, frozen=True):
    """A partition that is ready for appending to `segment`; None if it has its final entry.

    `cut_bytes` were never answered with 200 and are gone.
    """

    end: End
    cut_bytes: int
    segment: Segment | None
    file: AppendFile | None


def recover(
    folder: Path, *, partition: int, known_end: int, files: Files, end_file: EndFile
) -> Recovered:
    """Cut what is not whole, make the rest durable, publish its end and begin a new segment.

    `known_end` is the highest position that a processor has committed. Raise `Corrupt`, with
    nothing changed, if anything before the highest known end is damaged or missing.
    """
    published = read_end(folder) or NOTHING
    listing = list_segments(folder, partition)
    found = _examine(folder, listing, known_end, published.position)
    sizes = {path: path.stat().st_size for path in listing.abandoned}
    newest = listing.segments[-1] if listing.segments else None

    cut_bytes = sum(max(0, size - segments.SEGMENT_HEADER_BYTES) for size in sizes.values())
    if newest is not None:
        cut_bytes += found.file_end - max(found.end.position, newest.first_position)
        _make_durable(newest, found, files)
    segment, file = None, None
    if not found.final:
        # Beyond every byte that was ever written, so no position is used twice.
        base = max([found.file_end, *(_beyond(path, size) for path, size in sizes.items())])
        segment, file = _begin(folder, partition, base, newest, found, files)
        killpoints.reached("log.recovering")
    if newest is not None:
        _cut(newest, max(found.end.position, newest.first_position), files)
    end_file.publish(found.end)
    _remove_empty(folder, listing, found, files)
    return Recovered(found.end, cut_bytes, segment, file)


def _beyond(path: Path, size: int) -> int:
    return int(path.stem) + max(size, segments.SEGMENT_HEADER_BYTES)


def _examine(folder: Path, listing: Listing, processed: int, published: int) -> Found:
    known_end = max(processed, published)
    if not listing.segments:
        _check_end(folder, 0, known_end)
        return Found(NOTHING, known_end, 0, final=False)
    newest = listing.segments[-1]
    for index in range(_first_to_read(listing, processed), len(listing.segments) - 1):
        _check_whole(listing, index)
    found = _scan(newest, known_end)
    _check_end(newest.path, found.end.position, found.known_end)
    return found


def _first_to_read(listing: Listing, processed: int) -> int:
    """Return the index of the first segment that may hold entries nobody has processed."""
    return 0 if processed == 0 else listing.index_of(processed)


def _check_whole(listing: Listing, index: int) -> None:
    """Raise `Corrupt` unless whole frames fill a segment that is not the newest."""
    segment = listing.segments[index]
    end = segment_end(listing.segments, index)
    if end is None:
        return
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in read_frames(
            descriptor, segment.base, segment.first_position, end.position, BLOCK_BYTES
        ):
            pass
    except BadFrame as error:
        raise damaged(segment.path, error.position, end.position) from error
    finally:
        os.close(descriptor)


def _scan(segment: Segment, known_end: int) -> Found:
    """Read the newest segment to its last whole frame."""
    end, final = segment.previous_end, False
    known_end = max(known_end, end.position)
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        file_end = segment.base + os.fstat(descriptor).st_size
        try:
            for frames in read_frames(
                descriptor, segment.base, segment.first_position, file_end, BLOCK_BYTES
            ):
                for frame in frames:
                    if frame.kind == GROUP:
                        known_end = max(known_end, group_end(frame))
                    else:
                        end, final = End(frame.next_position, frame.stamp), frame.kind == FINAL
        except BadFrame as error:
            for later in find_group_ends(
                descriptor, segment.base, error.position, file_end, BLOCK_BYTES
            ):
                known_end = max(known_end, later)
            if error.position < known_end:
                raise damaged(segment.path, error.position, known_end) from error
        return Found(end, known_end, file_end, final)
    finally:
        os.close(descriptor)


def _check_end(path: Path, position: int, known_end: int) -> None:
    if position < known_end:
        raise Corrupt(
            f"Cannot open the log {path}: it ends at position {position}, but entries up to "
            f"position {known_end} were durable. Events are missing; restore the log folder "
            "from a backup. Nothing was changed."
        )


def damaged(path: Path, position: int, known_end: int) -> Corrupt:
    """Return the error for a bad frame before the durable end."""
    base = int(path.stem)
    return Corrupt(
        f"Cannot read the log {path}: the bytes at offset {position - base} (position {position}) "
        f"are damaged, but entries up to position {known_end} were durable. Restore the file "
        "from a backup. Nothing was changed."
    )


def _make_durable(segment: Segment, found: Found, files: Files) -> None:
    """Bring every whole frame to the disk.

    What lies behind the known end is written again in place: after a sync that failed, the
    system's copy may look clean though the disk never had it, and a sync alone would do nothing.
    """
    descriptor = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        position = max(found.known_end, segment.first_position)
        os.lseek(descriptor, position - segment.base, os.SEEK_SET)
        while position < found.end.position:
            size = min(BLOCK_BYTES, found.end.position - position)
            block = os.pread(descriptor, size, position - segment.base)
            if not block:
                raise OSError(f"{segment.path} became shorter while it was read")
            position += files.write_all(descriptor, block)
        files.sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _begin(
    folder: Path, partition: int, base: int, newest: Segment | None, found: Found, files: Files
) -> tuple[Segment, AppendFile]:
    if newest is None:
        previous_base = 0
    elif found.end.position > newest.first_position:
        previous_base = newest.base
    else:
        # A segment without an entry is replaced: the new one follows the one before it.
        previous_base = newest.previous_base
    return create_segment(
        folder,
        files,
        partition=partition,
        base=base,
        previous_base=previous_base,
        previous_end=found.end,
    )


def _cut(segment: Segment, position: int, files: Files) -> None:
    file = files.open_append(segment.path)
    try:
        if file.size() > position - segment.base:
            file.truncate(position - segment.base)
            file.sync_data()
    finally:
        file.close()


def _remove_empty(folder: Path, listing: Listing, found: Found, files: Files) -> None:
    paths = list(listing.abandoned)
    if listing.segments and found.end.position <= listing.segments[-1].first_position:
        paths.append(listing.segments[-1].path)
    for path in paths:
        files.remove(path)
    if paths:
        files.sync_folder(folder)
