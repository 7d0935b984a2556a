"""The model of a disk: what of a data folder is durable, and what a power cut could leave of it.

This is what is assumed, and therefore what is proven:

- Data written to a file since its last fsync or fdatasync may be there, be absent, or be there in
  part: up to any of the writes, the last of them up to any byte, and of what was written any pages
  (512 or 4,096 bytes) as they were when last durable, with zeros behind the end that they had then.
  The file's length may have grown though its bytes did not come, and it may have stayed though its
  name came (an empty file).
- fsync and fdatasync make data, length and truncation durable that were complete when the sync
  *began*, and nothing else: the entry of a new file needs a sync of its folder. File systems that
  do more are not relied on.
- Entries of a folder (create, rename, unlink, mkdir, rmdir) since the folder's last fsync may be
  lost from any point on, and any one of them may be lost while later ones came. Between different
  folders, and between entries and data, nothing is ordered. A rename is old or new, never both or
  none.
- What is durable is never damaged; disks that lie about a flush are out of reach.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import msgspec


class Write(msgspec.Struct, frozen=True):
    """Bytes put at an offset."""

    offset: int
    data: bytes


class Truncate(msgspec.Struct, frozen=True):
    """The length set."""

    size: int


Change = Write | Truncate


class Link(msgspec.Struct, frozen=True):
    """A name given to a node, in place of whatever had it."""

    name: str
    node: int


class Unlink(msgspec.Struct, frozen=True):
    """A name taken away."""

    name: str


class Rename(msgspec.Struct, frozen=True):
    """A node's name changed within its folder."""

    source: str
    target: str


EntryChange = Link | Unlink | Rename


def apply_changes(content: bytes, changes: list[Change]) -> bytes:
    """Return a file's content after some changes."""
    data = bytearray(content)
    for change in changes:
        if isinstance(change, Truncate):
            del data[change.size :]
            data.extend(bytes(change.size - len(data)))
        else:
            data.extend(bytes(max(0, change.offset - len(data))))
            data[change.offset : change.offset + len(change.data)] = change.data
    return bytes(data)


def apply_entries(entries: dict[str, int], changes: list[EntryChange]) -> dict[str, int]:
    """Return a folder's entries after some changes."""
    now = dict(entries)
    for change in changes:
        if isinstance(change, Link):
            now[change.name] = change.node
        elif isinstance(change, Unlink):
            now.pop(change.name, None)
        elif change.source in now:
            # Where the entry that was renamed was lost, so is what became of it.
            now[change.target] = now.pop(change.source)
    return now


class Blob:
    """A file's bytes, with their digest once somebody asked for it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._digest = b""

    @property
    def digest(self) -> bytes:
        """What no other bytes have."""
        if not self._digest:
            self._digest = blake2b(self.data, digest_size=16).digest()
        return self._digest


class File:
    """A file: what is durable of it, and the changes since."""

    def __init__(self) -> None:
        self.durable = Blob(b"")
        self.pending: list[Change] = []
        self._content = self.durable
        self._applied = 0

    @property
    def content(self) -> Blob:
        """What a process sees."""
        if self._applied < len(self.pending):
            self._content = Blob(apply_changes(self._content.data, self.pending[self._applied :]))
            self._applied = len(self.pending)
        return self._content

    def change(self, change: Change) -> None:
        """Do a change that is not durable yet."""
        self.pending.append(change)

    def sync(self, changes: int) -> None:
        """Make the first so many pending changes durable."""
        content = self.content
        if changes == len(self.pending):
            self.durable = content
        else:
            self.durable = Blob(apply_changes(self.durable.data, self.pending[:changes]))
        del self.pending[:changes]
        self._applied = len(self.pending)


class Folder:
    """A folder: its durable entries by name, and the changes since."""

    def __init__(self) -> None:
        self.durable: dict[str, int] = {}
        self.pending: list[EntryChange] = []
        self.entries: dict[str, int] = {}

    def change(self, change: EntryChange) -> None:
        """Do a change that is not durable yet."""
        self.pending.append(change)
        self.entries = apply_entries(self.entries, [change])

    def sync(self, changes: int) -> None:
        """Make the first so many pending changes durable."""
        self.durable = apply_entries(self.durable, self.pending[:changes])
        del self.pending[:changes]


Node = File | Folder

# Content by relative path; None stands for a folder.
Image = dict[str, Blob | None]


class Disk:
    """All nodes below one root folder, which is itself durable."""

    def __init__(self) -> None:
        self.root = Folder()
        self.nodes: dict[int, Node] = {0: self.root}

    def add(self, node: Node) -> int:
        """Take a node in and return its number."""
        number = len(self.nodes)
        self.nodes[number] = node
        return number

    def folder(self, path: str) -> Folder:
        """Return the folder at a relative path, as a process sees it."""
        node: Node = self.root
        for name in path.split("/") if path else ():
            if not isinstance(node, Folder):
                raise NotADirectoryError(path)
            node = self.nodes[node.entries[name]]
        if not isinstance(node, Folder):
            raise NotADirectoryError(path)
        return node

    def unsettled(self) -> list[int]:
        """Return the numbers of the nodes of which something is not durable."""
        return [number for number, node in self.nodes.items() if node.pending]

    def image(
        self,
        content_of: Callable[[int, File], Blob],
        entries_of: Callable[[int, Folder], dict[str, int]],
    ) -> Image:
        """Return what lies below the root where files and folders are as the two say."""
        found: Image = {}
        waiting = [("", 0, self.root)]
        while waiting:
            path, number, folder = waiting.pop()
            for name, child in entries_of(number, folder).items():
                below = f"{path}/{name}" if path else name
                node = self.nodes[child]
                if isinstance(node, Folder):
                    found[below] = None
                    waiting.append((below, child, node))
                else:
                    found[below] = content_of(child, node)
        return found


def digest_of(image: Image, version: int) -> bytes:
    """Return a digest that two images share only if they and the promises made are alike."""
    whole = blake2b(version.to_bytes(8, "big"), digest_size=16)
    for path, blob in sorted(image.items()):
        whole.update(path.encode() + (b"/" if blob is None else b"\0" + blob.digest))
    return whole.digest()


def write_image(image: Image, root: Path) -> None:
    """Make the folders and files of an image below a folder that is empty."""
    for path, blob in sorted(image.items()):
        place = root / path
        if blob is None:
            place.mkdir(mode=0o750)
        else:
            # The key file is refused if others may read it.
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, blob.data)
            os.close(descriptor)
