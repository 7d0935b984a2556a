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
        self._files.put_news(self._path, msgspec.json.encode(refusals))

    def remove(self) -> None:
        """Take the file away, as a collector does that ends on purpose, if the disk lets it go."""
        with contextlib.suppress(OSError):
            self._files.remove(self._path)


def remove_refused(folder: Path, files: Files) -> None:
    """Take away what collectors left that died: what they refused is of a former service."""
    for path in folder.glob(f"*{_SUFFIX}"):
        files.remove(path)


def read_refused(folder: Path, project: int) -> tuple[Refusal, ...]:
    """Return what was refused last of one project, by any collector, the newest first."""
    found: list[Refusal] = []
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            found += _decode(path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            # Gone just now, unreadable, or torn by a power failure: no word either way.
            continue
    mine = [one for one in found if one.project == project]
    return tuple(sorted(mine, key=lambda one: one.at_micros, reverse=True))
