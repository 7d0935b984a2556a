"""A stop that is asked for by a signal, while the main thread waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Signals rain on a main thread that does nothing but wait.
SCRIPT = """
import os, signal, threading
from tailrace.app.stopping import stop_on_signals

stop, never = threading.Event(), threading.Event()
stop_on_signals(stop, signal.SIGUSR1)

def rain():
    for _ in range(1000):
        os.kill(os.getpid(), signal.SIGUSR1)
        never.wait(0.00001)

sender = threading.Thread(target=rain)
sender.start()
while sender.is_alive():
    stop.wait(0.000001)
    stop.is_set()
print("stopped" if stop.is_set() else "not heard")
"""


@pytest.mark.slow  # thousands of signals, because the moment to hit is short
def test_a_signal_at_any_moment_of_waiting_is_heard() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"stopped\n"), done.stderr
