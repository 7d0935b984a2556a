"""Named places at which a durability test ends the process, as a power switch would.

A point costs one look into an empty table while nothing is armed. `arm` is called once, by a
process's entry point, with the value of `TAILRACE_KILL_AT`: `name`, `name:3` for the third time it
is reached, or several of them with commas.
"""

from __future__ import annotations

import os
import signal

_armed: dict[str, int] = {}


def arm(specification: str | None) -> None:
    """Arm the named points, or none for `None` and the empty string."""
    _armed.clear()
    for point in (specification or "").split(","):
        name, _, times = point.strip().partition(":")
        if name:
            _armed[name] = int(times or 1)


def reached(name: str) -> None:
    """End the process with SIGKILL if this point is armed and its turn has come."""
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
