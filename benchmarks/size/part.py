"""One part of the service as `tailrace serve` runs it, on the clock of the measure.

A program: `python -m benchmarks.size.part NAME DATA CLOCK`. It prints a line once it is up, with
the collector's port, and ends when its standard input does. For each line `spent` it answers what
its checkpoints and its closer cost so far.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.journal import PARTITION
from benchmarks.places import open_part
from benchmarks.size.clock import SharedClock
from tailrace.app import collector, exporter, processor
from tailrace.collect import keys
from tailrace.ops.logs import configure_logs
from tailrace.process.loop import Processor
from tailrace.seal.closer import Closer

_BACKLOG = 512
# The collector's copy of the keys is fresh for two seconds, by a clock that goes faster here.
_FRESH_FACTOR = 100_000


class Spent(msgspec.Struct, frozen=True):
    """CPU seconds of the processor's main thread so far, by what it did."""

    checkpoints: float
    closer: float


class _Meter:
    """Adds up the main thread's CPU seconds of a method."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def attach(self, owner: type[Any], name: str, what: str) -> None:
        """Measure every call of a method of a class from now on."""
        method: Callable[..., Any] = getattr(owner, name)

        def measured(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return method(*arguments, **options)
            finally:
                self.seconds[what] += time.thread_time() - began

        setattr(owner, name, measured)

    def spent(self) -> Spent:
        """Return what was measured so far."""
        return Spent(self.seconds["checkpoints"], self.seconds["closer"])


def main() -> None:
    """Run the part until standard input ends."""
    name, data, clock = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    configure_logs(name)
    meter = _Meter()
    meter.attach(Processor, "checkpoint", "checkpoints")
    meter.attach(Closer, "step", "closer")
    keys.STALE_SECONDS *= _FRESH_FACTOR
    part = open_part(data, f"collector-{PARTITION}" if name == "collector" else name)
    part.clock = SharedClock(clock)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=_obey, args=(meter, part.stop.set), daemon=True).start()
    if name == "collector":
        collector.run(part, PARTITION, listening)
    elif name == "processor":
        processor.run(part)
    else:
        exporter.run(part)


def _obey(meter: _Meter, stop: Callable[[], None]) -> None:
    for line in sys.stdin:
        if line == "spent\n":
            os.write(1, msgspec.json.encode(meter.spent()) + b"\n")
    stop()


if __name__ == "__main__":
    main()
