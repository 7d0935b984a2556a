"""The cuts tried at one step: a bounded number of the folders that the disk could leave there.

Each has a name, so that a failure says what was lost. The systematic ones lose or keep one thing
while all else goes the other way, which is what a missing sync looks like; the rest is by chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from powercut.disk import (
    Blob,
    Disk,
    EntryChange,
    File,
    Folder,
    Image,
    Truncate,
    Write,
    apply_changes,
    apply_entries,
)

# Files and folders with something unsynced that are lost, or kept, one at a time: the latest ones.
# With all syncs in place rarely more than a handful is unsettled at once.
SINGLES_MAX = 24
# Of a file, the latest times that something was cut off it.
TRUNCATIONS_MAX = 2
# Cuts by chance at each step.
RANDOM_CUTS = 4
# The cut that takes all that is not durable.
NOTHING = "nothing unsynced kept"

Entries = dict[str, int]


class Cut(msgspec.Struct, frozen=True):
    """A folder as a cut could leave it."""

    name: str
    image: Image


def cuts(disk: Disk, chance: random.Random) -> Iterator[Cut]:
    """Yield the folders to try for the disk as it is now; the same ones for the same chance."""
    yield Cut(NOTHING, disk.image(_durable, _durable_entries))
    unsettled = disk.unsettled()
    if not unsettled:
        return
    yield Cut("all kept", disk.image(_content, _entries))
    yield Cut("data kept, entries lost", disk.image(_content, _durable_entries))
    yield Cut("entries kept, data lost", disk.image(_durable, _entries))
    yield Cut("entries kept, data zero", disk.image(_zeros, _entries))
    for number in unsettled[-SINGLES_MAX:]:
        yield Cut(f"only {number} lost", _but(disk, number, _content, _entries, lost=True))
        yield Cut(f"only {number} kept", _but(disk, number, _durable, _durable_entries, lost=False))
        node = disk.nodes[number]
        if isinstance(node, Folder):
            for count in range(1, len(node.pending)):
                came = node.pending[:count]
                yield Cut(f"only {count} entries of {number}", _with(disk, number, came))
            for lost in range(max(0, len(node.pending) - SINGLES_MAX), len(node.pending) - 1):
                came = node.pending[:lost] + node.pending[lost + 1 :]
                yield Cut(f"all but entry {lost} of {number}", _with(disk, number, came))
        else:
            for place in _truncations(node):
                before = Blob(apply_changes(node.durable.data, node.pending[:place]))
                yield Cut(f"what was cut off {number} is back", _having(disk, number, before))
    for turn in range(RANDOM_CUTS):
        yield Cut(f"chance {turn}", _by_chance(disk, chance))


def _truncations(file: File) -> list[int]:
    """Return the last places in what is unsynced of a file at which something was cut off."""
    places = [at for at, change in enumerate(file.pending) if isinstance(change, Truncate)]
    return places[-TRUNCATIONS_MAX:]


def _having(disk: Disk, one: int, blob: Blob) -> Image:
    def content_of(number: int, file: File) -> Blob:
        return blob if number == one else file.content

    return disk.image(content_of, _entries)


def _but(
    disk: Disk,
    one: int,
    content: Callable[[int, File], Blob],
    entries: Callable[[int, Folder], Entries],
    *,
    lost: bool,
) -> Image:
    def content_of(number: int, file: File) -> Blob:
        if number != one:
            return content(number, file)
        return file.durable if lost else file.content

    def entries_of(number: int, folder: Folder) -> Entries:
        if number != one:
            return entries(number, folder)
        return folder.durable if lost else folder.entries

    return disk.image(content_of, entries_of)


def _with(disk: Disk, one: int, came: list[EntryChange]) -> Image:
    def entries_of(number: int, folder: Folder) -> Entries:
        return folder.entries if number != one else apply_entries(folder.durable, came)

    return disk.image(_content, entries_of)


def _by_chance(disk: Disk, chance: random.Random) -> Image:
    keep = chance.choice((0.2, 0.5, 0.8))
    made: dict[int, Blob] = {}

    def content_of(number: int, file: File) -> Blob:
        if not file.pending:
            return file.durable
        if number not in made:
            made[number] = torn(file, chance, keep)
        return made[number]

    def entries_of(number: int, folder: Folder) -> Entries:
        if not folder.pending:
            return folder.durable
        count = len(folder.pending) if chance.random() < keep else chance.randint(0, 9)
        return apply_entries(folder.durable, folder.pending[:count])

    return disk.image(content_of, entries_of)


def torn(file: File, chance: random.Random, keep: float) -> Blob:
    """Return a file of whose unsynced changes a part came: in order, but pages in any."""
    if chance.random() < keep / 2:
        return file.content
    count = chance.randint(0, len(file.pending))
    changes = file.pending[:count]
    if changes and chance.random() < 0.5:
        last = changes[-1]
        if isinstance(last, Write):
            changes[-1] = Write(last.offset, last.data[: chance.randint(0, len(last.data))])
    data = bytearray(apply_changes(file.durable.data, changes))
    if chance.random() < 0.5:
        return Blob(bytes(data))
    page = chance.choice((512, 4096))
    touched = {
        number
        for change in changes
        if isinstance(change, Write)
        for number in range(change.offset // page, (change.offset + len(change.data)) // page + 1)
    }
    for number in sorted(touched):
        start, end = number * page, min((number + 1) * page, len(data))
        if start >= end or chance.random() < keep:
            continue
        # What is durable of a page stays though the page is written again.
        before = file.durable.data[start:end]
        data[start:end] = before + bytes(end - start - len(before))
    return Blob(bytes(data))


def _durable(number: int, file: File) -> Blob:
    return file.durable


def _content(number: int, file: File) -> Blob:
    return file.content


def _zeros(number: int, file: File) -> Blob:
    if not file.pending:
        return file.durable
    size = len(file.content.data)
    return Blob(file.durable.data[:size].ljust(size, b"\0"))


def _durable_entries(number: int, folder: Folder) -> Entries:
    return folder.durable


def _entries(number: int, folder: Folder) -> Entries:
    return folder.entries
