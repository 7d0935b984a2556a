"""The supervisor with real processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tailrace.app.supervisor import DEATHS_MAX, Part, Supervisor

WAITER = (
    "import os, signal, sys\n"
    "path = sys.argv[1]\n"
    "def stop(*_):\n"
    "    open(path, 'a').write('stopped\\n')\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "open(path, 'a').write(f'started {os.environ.get(\"TAILRACE_KILL_AT\")}\\n')\n"
    "while True: signal.pause()\n"
)


@pytest.fixture(autouse=True)
def _own_signals() -> object:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _part(name: str, script: str, path: Path) -> Part:
    return Part(name, (sys.executable, "-c", script, str(path)))


def test_parts_stop_on_a_signal_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / "first", tmp_path / "second"]

    def on_tick() -> None:
        if all(path.exists() and "started" in path.read_text() for path in paths):
            os.kill(os.getpid(), signal.SIGTERM)

    parts = [_part(path.name, WAITER, path) for path in paths]
    assert Supervisor(parts, on_tick=on_tick).run() == 0
    assert [path.read_text().splitlines()[-1] for path in paths] == ["stopped", "stopped"]


def test_a_part_that_always_dies_ends_the_service(tmp_path: Path) -> None:
    path = tmp_path / "lives"
    script = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)"
    assert Supervisor([_part("dying", script, path)], on_tick=lambda: None).run() == 1
    assert len(path.read_text()) == DEATHS_MAX


def test_a_died_part_comes_back_without_its_kill_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILRACE_KILL_AT", "somewhere")
    path = tmp_path / "part"
    script = WAITER.replace(
        "while True", "if os.environ.get('TAILRACE_KILL_AT'): os.kill(os.getpid(), 9)\nwhile True"
    )

    def on_tick() -> None:
        if path.exists() and "started None" in path.read_text():
            os.kill(os.getpid(), signal.SIGTERM)

    assert Supervisor([_part("part", script, path)], on_tick=on_tick).run() == 0
    assert path.read_text().splitlines() == ["started somewhere", "started None", "stopped"]


def test_a_hang_up_ends_the_service_unless_it_was_ignored_at_the_start(tmp_path: Path) -> None:
    hang_ups = 0

    def on_tick() -> None:
        nonlocal hang_ups
        hang_ups += 1
        # To this thread: another one of the process might take it a moment later.
        signal.raise_signal(signal.SIGHUP if hang_ups < 3 else signal.SIGTERM)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert Supervisor((), on_tick=on_tick).run() == 0
    assert hang_ups == 3

    hang_ups = 0
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert Supervisor((), on_tick=on_tick).run() == 0
    assert hang_ups == 1


def test_an_interrupt_of_the_whole_group_kills_no_part_that_is_starting(tmp_path: Path) -> None:
    path = tmp_path / "part"
    # It does nothing about SIGINT, as a part in its first second.
    script = WAITER.replace("started", "{os.getpid()} started")
    interrupted = False

    def on_tick() -> None:
        nonlocal interrupted
        if interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
        elif path.exists() and "started" in path.read_text():
            os.kill(int(path.read_text().split()[0]), signal.SIGINT)
            interrupted = True

    assert Supervisor([_part("part", script, path)], on_tick=on_tick).run() == 0
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["None", "stopped"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
