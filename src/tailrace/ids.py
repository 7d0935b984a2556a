"""The source of randomness, passed in wherever an identifier or a key is made."""

from __future__ import annotations

import os
from typing import Protocol


class Ids(Protocol):
    """Make unpredictable bytes; tests pass a source that repeats itself."""

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes that nobody can guess."""
        ...


class SystemIds:
    """The operating system's randomness."""

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes from the operating system."""
        return os.urandom(count)
