"""The collector part as the service runs it, in a process that `benchmarks.ingest` measures.

`--no-sync` leaves out the sync of the log and nothing else: what remains when it costs nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.places import open_part
from benchmarks.served import listen, obey, profiled
from tailrace.app import collector
from tailrace.files import AppendFile, Files

PARTITION = 1


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


def main() -> None:
    """Collect into a data folder until the parent says stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    part = open_part(given.data, f"collector-{PARTITION}")
    if given.no_sync:
        part.files = UnsyncedFiles()
    obey(part.stop.set)
    profiled(
        lambda: collector.run(part, PARTITION, listen()), given.profile, "the collector under load"
    )


if __name__ == "__main__":
    main()
