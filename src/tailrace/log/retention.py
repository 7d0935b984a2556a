"""Retention: which segments of the log nobody needs any more. Called by the processor."""

from __future__ import annotations

from pathlib import Path

from tailrace.files import Files
from tailrace.log.partitions import partition_folder
from tailrace.log.segment import list_segments


def remove_segments(
    log_folder: Path, partition: int, below_position: int, older_than_micros: int, files: Files
) -> int:
    """Remove a partition's segments that lie wholly below a position; return how many.

    Only those go whose last entry is stamped before `older_than_micros`; never the newest one. The
    caller gives a committed position whose hours are sealed. A crash half-way leaves a log that is
    whole.
    """
    folder = partition_folder(log_folder, partition)
    listing = list_segments(folder, partition)
    removed = 0
    for segment, following in zip(listing.segments, listing.segments[1:], strict=False):
        end = following.previous_end
        if end.position > below_position or end.stamp >= older_than_micros:
            break
        files.remove(segment.path)
        # Oldest first on disk too, so that a crash leaves no gap.
        files.sync_folder(folder)
        removed += 1
    return removed
