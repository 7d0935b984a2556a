"""System calls out of an strace log, in the order in which they ended.

Two threads' calls overlap in the log; each call keeps the line on which it began, since a sync
covers only what was written before it. A `close` counts where it began: another thread may be given
its descriptor before it has ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

# Everything that may change a file, a folder or a descriptor. `mmap` is watched for shared
# writable mappings, which would pass by unseen.
TRACED = (
    "openat,open,creat,openat2,close,dup,dup2,dup3,fcntl,lseek,"
    "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,splice,fallocate,"
    "ftruncate,truncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "link,linkat,symlink,symlinkat,fsync,fdatasync,sync,syncfs,sync_file_range,mmap,msync"
)

_LINE = re.compile(r"^(\d+)\s+(.*)$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)(.*)$")
_UNFINISHED = " <unfinished ...>"


class Call(msgspec.Struct, frozen=True):
    """One successful call: its arguments as written, strings still in hex, and what it returned.

    `began` and `ended` are line numbers of the log, `thread` is the caller's number.
    """

    thread: str
    name: str
    arguments: tuple[str, ...]
    result: int
    began: int
    ended: int

    def text(self, index: int) -> str:
        """Return an argument that is a path."""
        return self.data(index).decode()

    def data(self, index: int) -> bytes:
        """Return an argument that is a buffer."""
        return unhex(self.arguments[index])


def read_calls(log: Path) -> Iterator[Call]:
    """Yield the calls of a log that succeeded; raise `ValueError` for a line it can't read."""
    begun: dict[str, tuple[int, str]] = {}
    closing: set[str] = set()
    with log.open() as lines:
        for number, line in enumerate(lines):
            matched = _LINE.match(line.rstrip("\n"))
            if matched is None:
                raise ValueError(f"{log}:{number + 1} is no line of strace: {line[:200]!r}")
            process, text = matched[1], matched[2]
            if text.startswith(("+++", "---")):
                continue
            began = number
            if text.endswith(_UNFINISHED):
                start = text.removesuffix(_UNFINISHED)
                if start.startswith("close("):
                    closing.add(process)
                    # Whatever it returns, the descriptor is free.
                    yield Call(process, "close", (start[len("close(") :],), 0, number, number)
                else:
                    begun[process] = (number, start)
                continue
            resumed = _RESUMED.match(text)
            if resumed is not None and process in closing:
                closing.remove(process)
                continue
            if resumed is not None:
                began, start = begun.pop(process)
                text = start + resumed[2]
            call = _parse(process, text, began, number)
            if call is not None:
                yield call


def _parse(thread: str, text: str, began: int, ended: int) -> Call | None:
    matched = _CALL.match(text)
    if matched is None:
        raise ValueError(f"This is no call: {text[:200]!r}")
    result = matched[3]
    if result == "?":
        # The process ended inside the call.
        return None
    number = int(result, 0)
    if number < 0:
        return None
    return Call(thread, matched[1], tuple(matched[2].split(", ")), number, began, ended)


def unhex(argument: str) -> bytes:
    """Return the bytes of a string argument; raise `ValueError` if strace cut it short."""
    if not argument.startswith('"') or not argument.endswith('"'):
        raise ValueError(f"This is no whole string: {argument[:80]}...{argument[-10:]}")
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))
