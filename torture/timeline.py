"""Time that runs faster: one timeline for all processes of a run, anchored in a file.

Event time, hours and checkpoints follow it, through `DataFolder.clock()`. Time-outs, signatures
and heartbeats stay with the machine's clock.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tailrace.clock import SystemClock

_FILE = "timeline.json"


class Timeline(msgspec.Struct, frozen=True):
    """At the machine's `steady_micros` it was `start_micros`; since then it runs `rate` as fast.

    `machine_micros` is what the machine's wall clock said then.
    """

    start_micros: int
    steady_micros: int
    machine_micros: int
    rate: int

    def of_machine(self, micros: int) -> int:
        """Return the timeline's time of a moment of the machine's wall clock."""
        return self.start_micros + (micros - self.machine_micros) * self.rate


class FastClock(SystemClock):
    """A wall clock and a steady clock that both run at the timeline's rate, without a step."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def now_micros(self) -> int:
        """Return the timeline's wall time."""
        return self._timeline.start_micros + self._passed()

    def steady_micros(self) -> int:
        """Return the timeline's steady time."""
        return self._timeline.steady_micros + self._passed()

    def _passed(self) -> int:
        return (super().steady_micros() - self._timeline.steady_micros) * self._timeline.rate


def begin(folder: Path, start_micros: int, rate: int) -> Timeline:
    """Let the timeline of a run's folder begin now."""
    machine = SystemClock()
    timeline = Timeline(start_micros, machine.steady_micros(), machine.now_micros(), rate)
    (folder / _FILE).write_bytes(msgspec.json.encode(timeline))
    return timeline


def read(folder: Path) -> Timeline:
    """Return the timeline that was begun in a run's folder."""
    return msgspec.json.decode((folder / _FILE).read_bytes(), type=Timeline)
