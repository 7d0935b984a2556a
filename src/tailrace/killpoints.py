"""Named places at which a durability test ends the process, as a power switch would.

A point costs one comparison while nothing is armed. `arm` is called once, by a process's entry
point, with the value of `TAILRACE_KILL_AT`: `name` or `name:3` for the third time it is reached.
"""

from __future__ import annotations

import os
import signal

_armed: str | None = None
_left = 0


def arm(specification: str | None) -> None:
    """Arm one point, or none for `None` and the empty string."""
    global _armed, _left
    if not specification:
        _armed, _left = None, 0
        return
    name, _, times = specification.partition(":")
    _armed, _left = name, int(times or 1)


def reached(name: str) -> None:
    """End the process with SIGKILL if this point is armed and its turn has come."""
    if _armed is None or _armed != name:
        return
    global _left
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
