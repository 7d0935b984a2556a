"""Held events put through the log again, while the service runs or not.

They go into a partition of their own, which ends with them, so no collector is in the way. Each
record names the event that it repeats: the processor takes it only while that one is still held,
in the transaction that removes it there. So a retry that is cut short or repeated doubles nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tailrace.clock import Clock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.log.partitions import list_partitions, partition_folder
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter
from tailrace.state.processing_rows import HeldRow
from tailrace.state.processing_view import ProcessingView

# What one call takes on; more rows are a defect to be mended first, and the next call's work.
HELD_PER_RETRY = 10_000

_WHOLE_RECORD = -1


def retry_held(folder: DataFolder, clock: Clock, files: Files) -> int:
    """Append every held event to the log again and return how many rows that were."""
    rows = ProcessingView(folder.processing_database).held_rows(HELD_PER_RETRY)
    if rows:
        numbers = [listed.id for listed in list_partitions(folder.log)]
        partition = max(numbers, default=0) + 1
        asyncio.run(_append(folder, partition, rows, clock, files))
    return len(rows)


async def _append(
    folder: DataFolder, partition: int, rows: Sequence[HeldRow], clock: Clock, files: Files
) -> None:
    writer = LogWriter.open(
        partition_folder(folder.log, partition),
        partition=partition,
        clock=clock,
        files=files,
        known_end=0,
    )
    try:
        for row in rows:
            await writer.append(_record(row))
    finally:
        # Also where it was cut short: a partition without an end would hold every hour open.
        try:
            await writer.retire()
        finally:
            writer.close()


def _record(row: HeldRow) -> Record:
    body = row.event
    if row.index != _WHOLE_RECORD:
        body = b'{"events":[' + row.event + b"]}"
    return Record(
        organization=row.organization,
        project=row.project,
        endpoint=row.endpoint,
        received_micros=row.received_micros,
        client_upload_micros=row.client_upload_micros,
        client_address=row.client_address,
        events=row.events,
        body=body,
        retry_of=(row.partition, row.position, row.index),
    )
