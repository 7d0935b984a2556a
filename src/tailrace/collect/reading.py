"""Open a request's body: the fast way if it is as SDKs send it, else the strict way."""

from __future__ import annotations

from tailrace.collect import fast, strict
from tailrace.collect.counters import Counters
from tailrace.collect.limits import Limits
from tailrace.collect.rules import Accepted, OpenUpload


def open_upload(body: bytes, limits: Limits, counters: Counters) -> OpenUpload:
    """Read the body as far as its API key; raise `Refused` if there is none or no events."""
    opened = None
    # A large body with very many values is decoded event by event, which bounds the memory.
    if len(body) <= limits.inline_bytes_max or body.count(b",") <= limits.values_max:
        opened = fast.open_fast(body, limits)
    if opened is None or not opened.api_key:
        counters.slow_path += 1
        return strict.open_strict(body, limits)
    return _Fast(opened, body, limits, counters)


class _Fast:
    """A typed upload that turns to the strict way when a guard objects."""

    def __init__(
        self, opened: fast.FastUpload, body: bytes, limits: Limits, counters: Counters
    ) -> None:
        self.api_key = opened.api_key
        self._opened: fast.FastUpload | None = opened
        self._body = body
        self._limits = limits
        self._counters = counters

    def accept(self) -> Accepted:
        """Return what the log stores; raise `Refused` with all faults. Call it once."""
        accepted = self._opened.accept() if self._opened is not None else None
        if accepted is not None:
            return accepted
        self._counters.slow_path += 1
        # Its decoded form makes room for the strict one.
        self._opened = None
        return strict.open_strict(self._body, self._limits).accept()
