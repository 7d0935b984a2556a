"""`Counters`: what one collector process has done so far, as plain numbers for the metrics."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Counts that only grow; read by whoever prints metrics, on the same loop."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.disconnected = 0
        self.events_accepted = 0
        self.bytes_accepted = 0
        self.slow_path = 0
        self.append_wait_seconds = 0.0
        self.log_failures = 0
        self.events_throttled = 0
        self.rates_forgotten = 0
        self.exports_cut = 0
