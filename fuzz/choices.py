"""`Choices`: read numbers and pieces from the bytes of an input; past its end all are zero."""

from __future__ import annotations


class Choices:
    """A cursor over one input."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """The number of bytes that were not read yet."""
        return len(self._data) - self._at

    def number(self, below: int) -> int:
        """Return a number from 0 up to and without `below`; it takes one byte or two."""
        size = 1 if below <= 256 else 2
        return int.from_bytes(self.piece(size), "big") % max(1, below)

    def piece(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.piece(self.left)


def damaged(data: bytes, choices: Choices, changes_max: int) -> tuple[bytes, int]:
    """Return the bytes after some changes, and the first place that may differ.

    A change touches few bytes, so that no checksum fits by chance or by search.
    """
    first = len(data)
    for _ in range(choices.number(changes_max) + 1):
        at = choices.number(len(data) + 1)
        what = choices.number(5)
        if what == 0:
            data = data[:at]
        elif what == 1:
            burst = choices.piece(4)
            old = data[at : at + len(burst)]
            changed = bytes(one ^ other for one, other in zip(old, burst, strict=False))
            data = data[:at] + changed + data[at + len(changed) :]
        elif what == 2:
            data = data[:at] + choices.piece(4) + data[at:]
        elif what == 3:
            data = data[:at] + data[at + 1 + choices.number(64) :]
        else:
            source = choices.number(len(data) + 1)
            block = data[source : source + choices.number(256)]
            data = data[:at] + block + data[at + len(block) :]
        first = min(first, at)
    return data, first
