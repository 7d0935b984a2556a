"""Plays a log of system calls onto the model of a disk, step by step.

A step is a call that changed the disk, or a mark: a line that the workload wrote into its marks
file, which says what was promised to somebody outside at that moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from powercut.calls import Call
from powercut.disk import Disk, File, Folder, Link, Node, Rename, Truncate, Unlink, Write
from powercut.outside import Asked, decode_mark

_AT_CWD = "AT_FDCWD"
# SQLite's shared memory is made anew by the first connection after a cut, whatever is in it: it
# may be mapped, and only its name is kept.
_SHARED_MEMORY = "-shm"


class Step(msgspec.Struct, frozen=True):
    """What just happened; `mark` is the line written, if it is a mark."""

    number: int
    what: str
    mark: bytes | None = None


class _Open(msgspec.Struct):
    """An open descriptor. `path` is relative to the root, for the reader of a report."""

    node: int
    path: str
    appends: bool
    offset: int = 0


class Replay:
    """The disk below one folder, and the descriptors of one process after another."""

    def __init__(self, root: Path, marks: Path, without: str = "") -> None:
        """Play for a folder; leave out the syncs that were asked for at the site `without`."""
        self.disk = Disk()
        self.asked: Counter[str] = Counter()
        self._without = without
        self._sites: dict[str, str] = {}
        self._root = f"{root}/"
        self._marks = str(marks)
        self._mark_descriptors: set[int] = set()
        self._open: dict[int, _Open] = {}
        self._steps = 0
        # How much of each node was pending when a line of the log was reached, for syncs.
        self._pending_at: dict[int, dict[int, int]] = {}

    def run(self, calls: Iterable[Call]) -> Iterator[Step]:
        """Yield a step after each call of one process that changed the disk or marked something.

        Writes to one place in a row, as SQLite makes its pages, are one step: the cuts by chance
        behind it stop at any of them.
        """
        self._open.clear()
        self._mark_descriptors.clear()
        pending = list(calls)
        syncs = sorted(
            (call.began, call) for call in pending if call.name in ("fsync", "fdatasync")
        )
        for call, following in zip(pending, [*pending[1:], None], strict=True):
            while syncs and syncs[0][0] <= call.ended:
                self._begin_sync(syncs.pop(0)[1])
            step = self._step(call)
            if step is not None and not _goes_on(call, following):
                yield step

    def _begin_sync(self, call: Call) -> None:
        opened = self._open.get(int(call.arguments[0]))
        if opened is not None:
            self._pending_at[call.ended] = {opened.node: len(self.disk.nodes[opened.node].pending)}

    def _step(self, call: Call) -> Step | None:
        do = getattr(self, f"_do_{call.name}", None)
        if do is None:
            self._refuse(call)
            return None
        before = self._steps
        what = do(call)
        if what is None:
            return None
        self._steps = before + 1
        if isinstance(what, bytes):
            return Step(before, "mark", what)
        return Step(before, what)

    def _refuse(self, call: Call) -> None:
        """Raise for a call that would change the folder in a way that is not understood."""
        for argument in call.arguments:
            if argument.startswith('"'):
                if call.text(call.arguments.index(argument)).startswith(self._root):
                    raise ValueError(f"The replay does not know {call.name} of {argument}")
            elif argument.isdigit() and int(argument) in self._open and call.name != "fcntl":
                raise ValueError(f"The replay does not know {call.name} on an open file")

    # Names and descriptors.

    def _do_openat(self, call: Call) -> str | None:
        path = call.text(1)
        flags = call.arguments[2].split("|")
        if path == self._marks:
            self._mark_descriptors.add(call.result)
            return None
        if f"{path}/" == self._root:
            self._open[call.result] = _Open(0, ".", False)
            return None
        relative = self._relative(path)
        if relative is None:
            self._open.pop(call.result, None)
            return None
        folder, name = self._split(relative)
        created = name not in folder.entries
        if created:
            folder.change(Link(name, self.disk.add(File())))
        number = folder.entries[name]
        self._open[call.result] = _Open(number, relative, "O_APPEND" in flags)
        if created:
            return f"create {relative}"
        node = self.disk.nodes[number]
        if isinstance(node, File) and "O_TRUNC" in flags and node.content.data:
            node.change(Truncate(0))
            return f"open {relative} truncated"
        return None

    def _do_close(self, call: Call) -> None:
        descriptor = int(call.arguments[0])
        self._open.pop(descriptor, None)
        self._mark_descriptors.discard(descriptor)

    def _do_dup(self, call: Call) -> None:
        self._copy(int(call.arguments[0]), call.result)

    def _do_dup2(self, call: Call) -> None:
        self._copy(int(call.arguments[0]), call.result)

    _do_dup3 = _do_dup2

    def _do_fcntl(self, call: Call) -> None:
        if call.arguments[1] in ("F_DUPFD", "F_DUPFD_CLOEXEC"):
            self._copy(int(call.arguments[0]), call.result)

    def _copy(self, source: int, target: int) -> None:
        if source in self._open:
            self._open[target] = self._open[source]

    # Changes of data.

    def _do_lseek(self, call: Call) -> None:
        opened = self._open.get(int(call.arguments[0]))
        if opened is not None:
            opened.offset = call.result

    def _do_write(self, call: Call) -> str | bytes | None:
        descriptor = int(call.arguments[0])
        if descriptor in self._mark_descriptors:
            line = call.data(1)
            mark = decode_mark(line)
            if isinstance(mark, Asked):
                self._sites[call.thread] = mark.site
                return None
            return line
        opened = self._open.get(descriptor)
        if opened is None:
            return None
        file = self._file(opened)
        data = call.data(1)[: call.result]
        offset = len(file.content.data) if opened.appends else opened.offset
        file.change(Write(offset, data))
        opened.offset = offset + len(data)
        return f"write {opened.path} {offset}+{len(data)}"

    def _do_pwrite64(self, call: Call) -> str | None:
        opened = self._changed(call)
        if opened is None:
            return None
        data, offset = call.data(1)[: call.result], int(call.arguments[3])
        self._file(opened).change(Write(offset, data))
        return f"write {opened.path} {offset}+{len(data)}"

    def _do_ftruncate(self, call: Call) -> str | None:
        opened = self._changed(call)
        if opened is None:
            return None
        self._file(opened).change(Truncate(int(call.arguments[1])))
        return f"truncate {opened.path} to {call.arguments[1]}"

    def _do_mmap(self, call: Call) -> None:
        shared = "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2]
        opened = self._open.get(int(call.arguments[4]))
        if shared and opened is not None and not opened.path.endswith(_SHARED_MEMORY):
            raise ValueError(f"{opened.path} is written through a mapping, which is not recorded")

    # Changes of entries.

    def _do_mkdir(self, call: Call) -> str | None:
        relative = self._relative(call.text(0))
        if relative is None:
            return None
        folder, name = self._split(relative)
        folder.change(Link(name, self.disk.add(Folder())))
        return f"mkdir {relative}"

    def _do_rmdir(self, call: Call) -> str | None:
        return self._unlink(call.text(0), "rmdir")

    def _do_unlink(self, call: Call) -> str | None:
        return self._unlink(call.text(0), "unlink")

    def _do_unlinkat(self, call: Call) -> str | None:
        return self._unlink(self._at(call, 0), "unlink")

    def _do_rename(self, call: Call) -> str | None:
        return self._rename(call.text(0), call.text(1))

    def _do_renameat(self, call: Call) -> str | None:
        return self._rename(self._at(call, 0), self._at(call, 2))

    _do_renameat2 = _do_renameat

    def _unlink(self, path: str, how: str) -> str | None:
        relative = self._relative(path)
        if relative is None:
            return None
        folder, name = self._split(relative)
        folder.change(Unlink(name))
        return f"{how} {relative}"

    def _rename(self, source: str, target: str) -> str | None:
        old, new = self._relative(source), self._relative(target)
        if old is None and new is None:
            return None
        if old is None or new is None or old.rpartition("/")[0] != new.rpartition("/")[0]:
            raise ValueError(f"The model knows renames within a folder, not {source} to {target}")
        folder, old_name = self._split(old)
        folder.change(Rename(old_name, new.rpartition("/")[2]))
        return f"rename {old} to {new}"

    # Syncs.

    def _do_fsync(self, call: Call) -> str | None:
        opened = self._open.get(int(call.arguments[0]))
        if opened is None:
            return None
        # SQLite asks for its syncs itself.
        site = self._sites.pop(call.thread, f"SQLite, sync of {opened.path}")
        self.asked[site] += 1
        if site == self._without:
            # Still a step, so that the same chances follow.
            return f"no sync {opened.path}"
        covered = self._pending_at.pop(call.ended)[opened.node]
        self.disk.nodes[opened.node].sync(covered)
        # Another sync of it that is under way counted these changes, too.
        for others in self._pending_at.values():
            if opened.node in others:
                others[opened.node] = max(0, others[opened.node] - covered)
        return f"sync {opened.path}"

    _do_fdatasync = _do_fsync

    def _changed(self, call: Call) -> _Open | None:
        opened = self._open.get(int(call.arguments[0]))
        if opened is None or opened.path.endswith(_SHARED_MEMORY):
            return None
        return opened

    def _file(self, opened: _Open) -> File:
        node: Node = self.disk.nodes[opened.node]
        if not isinstance(node, File):
            raise IsADirectoryError(opened.path)
        return node

    def _at(self, call: Call, index: int) -> str:
        path = call.text(index + 1)
        if call.arguments[index] != _AT_CWD and not path.startswith("/"):
            raise ValueError(f"The replay knows whole paths only, not {path}")
        return path

    def _relative(self, path: str) -> str | None:
        return path.removeprefix(self._root) if path.startswith(self._root) else None

    def _split(self, relative: str) -> tuple[Folder, str]:
        parent, _, name = relative.rpartition("/")
        return self.disk.folder(parent), name


def _goes_on(call: Call, following: Call | None) -> bool:
    return (
        following is not None
        and call.name == following.name == "pwrite64"
        and call.arguments[0] == following.arguments[0]
    )
