"""The whole collector with its log, as a process to be measured by `benchmarks.ingest`.

`--no-sync` leaves out the sync and nothing else: what remains when it costs no time at all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from benchmarks.served import Application, serve
from tailrace.clock import SystemClock
from tailrace.collect.keys import Keys, Owner
from tailrace.collect.limits import MEBIBYTE, Limits
from tailrace.collect.server import Collector
from tailrace.files import AppendFile, Files
from tailrace.log.writer import LogWriter

API_KEY = "0123456789abcdef0123456789abcdef"
ORGANIZATION = 100_001
PROJECT = 300_001


class KeyOwner(msgspec.Struct, frozen=True):
    """The one project that the measured collector knows."""

    organization: int
    project: int


class OneKey:
    """The accounts' keys, read without a database: they cost the hot path nothing either way."""

    def version(self) -> int:
        """Return the number of the only version."""
        return 1

    def load(self) -> Mapping[str, Owner]:
        """Return the one key."""
        return {API_KEY: KeyOwner(ORGANIZATION, PROJECT)}


class UnsyncedFile(AppendFile):
    """A file whose bytes are written, and left to the system to bring to the disk."""

    def sync_data(self) -> None:
        """Return at once."""


class UnsyncedFiles(Files):
    """The machine's file system without any wait for the disk on the log's hot path."""

    def open_append(self, path: Path) -> AppendFile:
        """Open for appending, without syncs."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return UnsyncedFile(path, descriptor)


@contextlib.asynccontextmanager
async def collector(log_folder: Path, files: Files) -> AsyncIterator[Application]:
    """Open a collector with its log in an empty folder."""
    clock = SystemClock()
    keys = Keys(OneKey(), steady_seconds=time.monotonic)
    await keys.refresh()
    files.make_folder(log_folder)
    writer = LogWriter.open(
        log_folder / "1", partition=1, clock=clock, files=files, known_end=0
    )
    # Bodies of 1,000 events pass the limit of one MiB only if their events are larger than usual.
    application = Collector(
        writer.append, keys, clock, limits=Limits(httpapi_bytes_max=4 * MEBIBYTE)
    )
    stop = asyncio.Event()
    refreshing = asyncio.create_task(keys.run(stop))
    try:
        yield application
    finally:
        stop.set()
        await refreshing
        application.close()
        keys.close()
        writer.close()


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("log_folder", type=Path)
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    files = UnsyncedFiles() if given.no_sync else Files()
    serve(collector(given.log_folder, files), given.profile)


if __name__ == "__main__":
    main()
