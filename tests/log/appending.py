"""A collector in small, for the kill test: append numbered records and print those answered.

Run as `python appending.py LOG_FOLDER PARTITION NAME`; the point comes from TAILRACE_KILL_AT.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tailrace import killpoints
from tailrace.clock import SystemClock
from tailrace.files import Files
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter

CALLERS = 16


async def call(writer: LogWriter, name: str, caller: int) -> None:
    number = 0
    while True:
        text = f"{name}-{caller}-{number}"
        body = text.encode() + b" " * (number * 37 % 500)
        await writer.append(Record(1, 2, "/batch", 3, None, "::1", 1, body))
        # One write of a short line is never torn, however the process ends.
        os.write(1, f"{text}\n".encode())
        number += 1


async def main(log_folder: Path, partition: int, name: str) -> None:
    writer = LogWriter.open(
        log_folder / str(partition),
        partition=partition,
        clock=SystemClock(),
        files=Files(),
        known_end=0,
        segment_bytes=50_000,
    )
    os.write(1, b"ready\n")
    await asyncio.gather(*(call(writer, name, caller) for caller in range(CALLERS)))


killpoints.arm(os.environ.get("TAILRACE_KILL_AT"))
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
