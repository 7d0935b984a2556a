"""Retiring a partition: its collector is taken away for good. Called by `tailrace log retire`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.files import Files
from tailrace.log.partitions import PartitionRetired, list_partitions, partition_folder
from tailrace.log.writer import LogWriter


def retire_partition(
    log_folder: Path, partition: int, *, clock: Clock, files: Files, known_end: int
) -> None:
    """Write the final entry of a partition, so that it holds no later hour open.

    Doing it again changes nothing. Raise `InUse` while its collector runs, `BadRequest` for a
    partition that never was, `ClockStepped` if the clock has to be accepted first.
    """
    if partition not in {listed.id for listed in list_partitions(log_folder)}:
        raise BadRequest(
            f"Cannot retire partition {partition}: the log has none of that number. "
            '"tailrace status" lists them.'
        )
    try:
        writer = LogWriter.open(
            partition_folder(log_folder, partition),
            partition=partition,
            clock=clock,
            files=files,
            known_end=known_end,
        )
    except PartitionRetired:
        return
    try:
        asyncio.run(writer.retire())
    finally:
        writer.close()
