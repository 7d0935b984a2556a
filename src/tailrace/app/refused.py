"""The requests that collectors refused last, handed to the process of the pages.

Each collector rewrites its small file; like a heartbeat it is news, not data: nothing is durable,
and it is gone when the collector stops.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tailrace.collect.refusals import Refusal
from tailrace.files import Files

# At most so often a file is written, however much is refused.
TELL_SECONDS = 1.0
_SUFFIX = ".refused"

_decode = msgspec.json.Decoder(list[Refusal]).decode


class RefusedFile:
    """One collector's file in the folder of running parts; `part` is the collector's name."""

    def __init__(self, folder: Path, part: str, files: Files) -> None:
        self._path = folder / f"{part}{_SUFFIX}"
        self._files = files

    def write(self, refusals: Sequence[Refusal]) -> None:
        """Replace the file; readers see the old or the new one, never a mix.

        Where the disk takes no file, the old one stays.
        """
        temporary = self._path.with_suffix(".refused-tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(refusals))
            self._files.rename(temporary, self._path)
        except OSError:
            # News must not end what it is about: a full disk is what many refusals are about.
            with contextlib.suppress(OSError):
                self._files.remove(temporary)

    def remove(self) -> None:
        """Take the file away, as a collector does that ends on purpose."""
        self._files.remove(self._path)


def read_refused(folder: Path, project: int) -> tuple[Refusal, ...]:
    """Return what was refused last of one project, by any collector, the newest first."""
    found: list[Refusal] = []
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            found += _decode(path.read_bytes())
        except (FileNotFoundError, msgspec.MsgspecError):
            # Gone just now, or torn by a power failure: no word either way.
            continue
    mine = [one for one in found if one.project == project]
    return tuple(sorted(mine, key=lambda one: one.at_micros, reverse=True))
