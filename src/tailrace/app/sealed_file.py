"""One sealed file of an hour, while the archive has it: to look into and to hand over whole."""

from __future__ import annotations

import zlib
from typing import BinaryIO

import msgspec

from tailrace.archive.folder import FolderArchive
from tailrace.errors import BadRequest, Corrupt
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.state.ledger_view import LedgerView
from tailrace.state.sealed import SealedFile

# Of a file so much is decompressed to show its beginning, however little that is of a line.
LOOK_BYTES_MAX = 256 * 1024
LOOK_LINES = 3
_READ_BYTES = 16 * 1024


class Look(msgspec.Struct, frozen=True):
    """The first lines of a file; `whole` unless the last of them is cut."""

    lines: tuple[str, ...]
    whole: bool


def sealed_file(ledger: LedgerView, scope: int, hour: Hour, number: int) -> SealedFile:
    """Return a file of a sealed hour; raise `BadRequest` where there is none of that number."""
    for one in ledger.files_of_hour(scope, hour):
        if one.number == number:
            return one
    raise BadRequest(f"There is no file {number} of this hour.")


def open_sealed(folder: DataFolder, file: SealedFile) -> BinaryIO | None:
    """Open a sealed file, which then can be read to its end; None once the archive dropped it."""
    archive = FolderArchive(folder.packs, folder.archive, Files())
    try:
        return archive.open_file(file.scope, file.hour, file.name)
    except FileNotFoundError:
        return None


def look(source: BinaryIO) -> Look:
    """Return the first lines of a gzip file, read no further than they reach.

    Raise `Corrupt` for one that is no gzip.
    """
    unpacking = zlib.decompressobj(wbits=31)
    text = b""
    try:
        while text.count(b"\n") < LOOK_LINES and len(text) < LOOK_BYTES_MAX:
            packed = unpacking.unconsumed_tail or source.read(_READ_BYTES)
            if not packed or unpacking.eof:
                break
            text += unpacking.decompress(packed, LOOK_BYTES_MAX - len(text))
    except zlib.error as error:
        raise Corrupt(f"A sealed file is no gzip any more: {error}.") from error
    lines = text.split(b"\n")
    ended, rest = lines[:-1][:LOOK_LINES], lines[-1]
    shown = ended if len(ended) == LOOK_LINES or not rest else [*ended, rest]
    return Look(
        tuple(one.decode("utf-8", "replace") for one in shown), whole=len(shown) == len(ended)
    )
