"""A child's side of a measured server: its socket, its CPU on request, its profile.

The child prints the port that it listens on. The parent then writes `cpu`, which is answered with
the CPU seconds so far, or `stop`.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import profiles

BACKLOG = 512


def listen() -> socket.socket:
    """Listen on a free loopback port and tell the parent which."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listening.getsockname()[1], flush=True)
    return listening


def obey(stop: Callable[[], None]) -> None:
    """Answer the parent from a thread of its own; call `stop` when it says so or has ended."""

    def follow() -> None:
        for line in sys.stdin:
            if line != "cpu\n":
                break
            print(time.process_time(), flush=True)
        stop()

    threading.Thread(target=follow, daemon=True).start()


def profiled(work: Callable[[], None], text: Path | None, title: str) -> None:
    """Run `work`, and with a path write there where its CPU went."""
    if text is None:
        work()
        return
    _, samples = profiles.sampled(work)
    text.write_text(profiles.describe(samples, title))
