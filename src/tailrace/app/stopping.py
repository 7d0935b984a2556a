"""Signals that ask a process to stop, told to an event. Called by the supervisor and by parts."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType


def stop_on_signals(stop: threading.Event, *numbers: int) -> None:
    """Set `stop` soon after one of the signals came; call it in the main thread.

    The handler only writes a byte. Setting the event there could wait for ever: a handler runs in
    the main thread, which may be inside `stop.wait` and hold the event's own lock just then.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def on_signal(number: int, frame: FrameType | None) -> None:
        # A full pipe holds enough bytes to be heard.
        with contextlib.suppress(BlockingIOError):
            os.write(writing, b"s")

    def wait_for_a_byte() -> None:
        os.read(reading, 1)
        stop.set()

    threading.Thread(target=wait_for_a_byte, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, on_signal)
