"""Real processes, as the demo starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.demo.children import Children
from tailrace.demo.interrupts import Interrupts

# Starts a child of its own, says its number, ignores a request to stop, and stays.
_STUBBORN_PARENT = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def children(tmp_path: Path) -> Children:
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    made = Children(tmp_path, {"PATH": os.defpath}, Interrupts())
    for number, handler in before.items():
        signal.signal(number, handler)
    return made


def _exists(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/status")
    if status.parent.parent.exists() and not status.exists():
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in (status.read_text() if status.exists() else "")


def test_what_a_child_says_and_how_it_ends_can_be_read(children: Children) -> None:
    child = children.start(
        [sys.executable, "-c", "import sys; print('out'); sys.exit('the reason')"]
    )

    assert child.wait(30) == 1
    assert child.output() == "out\n"
    assert child.last_words() == "the reason"


def test_a_child_sees_only_the_environment_it_was_given(children: Children) -> None:
    child = children.start([sys.executable, "-c", "import os; print(os.environ.get('HOME'))"])

    assert child.wait(30) == 0
    assert child.output() == "None\n"


def test_ending_leaves_no_child_and_no_grandchild(children: Children) -> None:
    child = children.start([sys.executable, "-c", _STUBBORN_PARENT])
    while not child.output().endswith("\n"):
        assert child.wait(0.02) is None
    grandchild = int(child.output())

    children.end()

    assert child.process.returncode == -signal.SIGTERM
    for _ in range(200):
        if not _exists(grandchild):
            break
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert not _exists(grandchild)


def test_ending_twice_is_the_same_as_once(children: Children) -> None:
    child = children.start([sys.executable, "-c", ""])

    children.end()
    children.end()

    assert child.process.returncode is not None
