"""What an export would hold: how much came in the last day, and a line of the newest file."""

from __future__ import annotations

import zlib

import msgspec
from sqlalchemy.engine import Engine

from tailrace.archive.folder import FolderArchive
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.seal.names import NO_NUMBER, file_name
from tailrace.state.sealed import SealedFile
from tailrace.state.volumes import Volume, newest_file, volume

# A line is a kilobyte or two; one that is longer than this is shown cut.
LINE_BYTES_MAX = 16 * 1024
# So much of a file holds the beginning of its first line, however well it is compressed.
READ_BYTES = 16 * 1024
DAY_HOURS = 24

# The first byte after 16 says gzip, the rest its window.
_GZIP = 31


class Sample(msgspec.Struct, frozen=True):
    """What a scope's files are like. `line` is empty where there is no file on this machine."""

    name: str
    day: Volume
    line: str


def sample(engine: Engine, folder: DataFolder, scope: int, now: Hour) -> Sample:
    """Return what was sealed in the 24 hours before `now`, and a name and a line of a file."""
    found = newest_file(engine, scope)
    hour = now if found is None else found.hour
    number = 1 if scope > 0 else NO_NUMBER
    return Sample(
        name=file_name(scope, hour, number) if found is None else found.name,
        day=volume(engine, scope, now.plus(-DAY_HOURS), now),
        line="" if found is None else _first_line(folder, found),
    )


def _first_line(folder: DataFolder, file: SealedFile) -> str:
    archive = FolderArchive(folder.packs, folder.archive, Files())
    try:
        with archive.open_file(file.scope, file.hour, file.name) as opened:
            begun = opened.read(READ_BYTES)
        text = zlib.decompressobj(_GZIP).decompress(begun, LINE_BYTES_MAX)
    except (OSError, zlib.error):
        # The archive may drop it just now, and damage is told where it matters.
        return ""
    return text.partition(b"\n")[0].decode("utf-8", "replace")
