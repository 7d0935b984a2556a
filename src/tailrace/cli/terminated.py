"""SIGTERM in a command that probes: what the probes have put is removed before it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# What shells say of a process that SIGTERM has ended.
TERMINATED = 128 + signal.SIGTERM


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM raise `SystemExit` within, so that whatever cleans up does.

    The exit code is the one that the signal has by itself. A second signal ends the process at
    once. Where SIGTERM is ignored, it stays so. For the main thread.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(TERMINATED)
