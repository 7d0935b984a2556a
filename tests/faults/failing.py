"""`Failing`: the n-th write below a folder fails, as a full disk or a broken one lets it fail.

It stands between our code and the system, so every write counts, whichever module makes it; only
SQLite's own do not pass here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

BY_PATH = ("open", "replace", "unlink", "mkdir", "rmdir")
BY_DESCRIPTOR = ("write", "pwrite", "fsync", "fdatasync", "ftruncate")
# Python needs this many frames from a patched call to the line in our code that asked for it.
FRAMES_MAX = 12


class Site(msgspec.Struct, frozen=True, order=True):
    """A line of the product that writes, and the call that it makes."""

    call: str
    path: str
    line: int


class Failing:
    """Count the writes below `folder`; let the `at`-th fail with `code`, or be cut short.

    `at` 0 lets all go well. A short write takes half of the bytes and says so. Syncs are left out:
    no power fails here. `sites` has one entry for each write, in their order.
    """

    def __init__(self, folder: Path, at: int = 0, code: int = 0) -> None:
        self.sites: list[Site] = []
        self.fired: Site | None = None
        self.synced_after_failure = False
        self._folder = str(folder)
        self._at = at
        self._code = code
        self._failed_sync: int | None = None
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Stand between the code and the system meanwhile."""
        stand_ins = {name: self._stand_in(name) for name in (*BY_PATH, *BY_DESCRIPTOR)}
        with mock.patch.multiple(os, close=self._close(os.close), **stand_ins):
            yield

    def _stand_in(self, name: str) -> Any:
        plain = getattr(os, name)

        def call(first: Any, *more: Any, **named: Any) -> Any:
            if not self._counts(name, first, more):
                return plain(first, *more, **named)
            if self._falls(name):
                if self._code:
                    self._note_sync(name, first)
                    raise OSError(self._code, os.strerror(self._code), str(first))
                return plain(first, memoryview(more[0])[: len(more[0]) // 2], *more[1:])
            if name in ("fsync", "fdatasync"):
                self._check_sync(first)
                return None
            return plain(first, *more, **named)

        return call

    def _counts(self, name: str, first: Any, more: tuple[Any, ...]) -> bool:
        if name in BY_DESCRIPTOR:
            path = os.readlink(f"/proc/self/fd/{first}")
        else:
            path = str(first)
        if not path.startswith(self._folder):
            return False
        return name != "open" or bool(more[0] & os.O_CREAT)

    def _falls(self, name: str) -> bool:
        with self._lock:
            site = _site(name)
            self.sites.append(site)
            if self.fired is not None or not 0 < self._at <= len(self.sites):
                return False
            # Only a write can be short; threads may sync in another order, then it is the next one.
            if not self._code and name not in ("write", "pwrite"):
                return False
            self.fired = site
            return True

    def _note_sync(self, name: str, descriptor: int) -> None:
        if name in ("fsync", "fdatasync"):
            self._failed_sync = descriptor

    def _check_sync(self, descriptor: int) -> None:
        if descriptor == self._failed_sync:
            self.synced_after_failure = True

    def _close(self, plain: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            if descriptor == self._failed_sync:
                self._failed_sync = None
            plain(descriptor)

        return close


def _site(name: str) -> Site:
    frame = sys._getframe(3)
    for _ in range(FRAMES_MAX):
        path = frame.f_code.co_filename
        if "tailrace" in path and not path.endswith("/files.py"):
            return Site(name, path.rpartition("tailrace/")[2], frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return Site(name, frame.f_code.co_filename, frame.f_lineno)
