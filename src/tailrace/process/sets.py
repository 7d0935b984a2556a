"""Device sets and location sets, each kept once for all the people who have it.

Few sets belong to many people: most are neither decoded nor encoded, only found.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from tailrace.process.memory import text_bytes

# So many sets of a kind are kept, each with its text no larger than this: 20 MB at the most.
# Larger ones belong to their person alone.
SETS_MAX = 8_000
SET_BYTES_MAX = 640

S = TypeVar("S", bound="tuple[str | None, ...]")

_encode = msgspec.json.Encoder().encode


class Sets(Generic[S]):
    """Sets of one kind; `nothing` is the one in which no field is known, and has no text."""

    def __init__(self, nothing: S) -> None:
        self._nothing = nothing
        self._decode = msgspec.json.Decoder(tuple[(str | None,) * len(nothing)]).decode  # type: ignore[misc]  # a length that is a value
        self._by_text: dict[str, S] = {}
        self._texts: dict[S, tuple[S, str]] = {}

    def age(self) -> None:
        """Forget all sets if there are too many; only between batches."""
        if len(self._texts) > SETS_MAX:
            self._by_text.clear()
            self._texts.clear()

    def of_text(self, text: str | None) -> tuple[S, int]:
        """Return a stored set, and the bytes that it takes for its person alone."""
        if text is None:
            return self._nothing, 0
        kept = self._by_text.get(text)
        if kept is not None:
            return kept, 0
        return self._keep(self._decode(text), text)

    def shared(self, fields: S) -> tuple[S, int]:
        """Return the set that is kept for all who have these fields, and what it takes alone."""
        if fields == self._nothing:
            return self._nothing, 0
        kept = self._texts.get(fields)
        if kept is not None:
            return kept[0], 0
        return self._keep(fields, _encode(fields).decode())

    def text_of(self, fields: S) -> str | None:
        """Return a set as it is stored."""
        if fields == self._nothing:
            return None
        kept = self._texts.get(fields)
        return _encode(fields).decode() if kept is None else kept[1]

    def _keep(self, fields: S, text: str) -> tuple[S, int]:
        taken = _TUPLE_BYTES + sum(map(text_bytes, fields))
        if taken + text_bytes(text) <= 2 * SET_BYTES_MAX:
            self._by_text[text] = fields
            self._texts[fields] = (fields, text)
        return fields, taken


# A tuple of seven.
_TUPLE_BYTES = 96
