"""What processes take of the machine, from /proc: memory by kind, and CPU seconds.

Sampled by the measuring process, so that what is measured pays nothing for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

# A peak that is shorter than this may go unseen.
INTERVAL_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
MIB = 1024 * 1024


class Peak(msgspec.Struct):
    """The most that was seen of one process, in bytes; `mapped` is page cache that it maps."""

    anonymous: int = 0
    mapped: int = 0


class Sampler:
    """Looks at processes every tenth of a second while its block runs."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """Look at the processes of these IDs, each under its name."""
        self.peaks = {name: Peak() for name in processes}
        self._processes = dict(processes)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds of each process so far, those of ended children included."""
        return {name: cpu_seconds(process) for name, process in self._processes.items()}

    def _look_on(self) -> None:
        while True:
            for name, process in self._processes.items():
                anonymous, mapped = resident_bytes(process)
                peak = self.peaks[name]
                peak.anonymous = max(peak.anonymous, anonymous)
                peak.mapped = max(peak.mapped, mapped)
            if self._stop.wait(INTERVAL_SECONDS):
                return


def cpu_seconds(process: int) -> float:
    """Return the CPU seconds, user and system, of a process and of its children that ended."""
    text = (_PROC / str(process) / "stat").read_text()
    # The program's name, in parentheses, may hold spaces.
    fields = text.rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def resident_bytes(process: int) -> tuple[int, int]:
    """Return a process's anonymous memory, and what it maps of files; 0 of one that is gone."""
    try:
        text = (_PROC / str(process) / "status").read_text()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("Rss"))
    return _bytes(found.get("RssAnon")), _bytes(found.get("RssFile"))


def _bytes(kibibytes: str | None) -> int:
    return 0 if kibibytes is None else int(kibibytes.split()[0]) * 1024
