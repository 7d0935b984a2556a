"""The supervisor: starts the parts as processes, restarts a died one, stops them in order.

Called by `tailrace serve`. Each part holds the read end of a pipe whose write end only the
supervisor has, so a part learns that the supervisor is gone even if that was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from tailrace.app.stopping import stop_on_signals

log = structlog.get_logger()

DEATHS_MAX = 5
DEATHS_WINDOW_SECONDS = 60.0
BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_MAX_SECONDS = 5.0
POLL_SECONDS = 0.1

# All parts together must have stopped within the promised 10 seconds.
STOP_TOTAL_SECONDS = 9.0


class Part(msgspec.Struct, frozen=True):
    """One process: its name, its command line, the descriptors it inherits.

    Parts stop in the order of `stop_turn`, those of one turn at the same time; `stop_seconds` is
    how long a part may take before it is killed.
    """

    name: str
    command: tuple[str, ...]
    descriptors: tuple[int, ...] = ()
    stop_turn: int = 0
    stop_seconds: float = 3.0


class _Running:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self.failures = 0
        self.started_at = 0.0


class Supervisor:
    """Keeps the parts running until it is told to stop or a part can't be kept up."""

    def __init__(self, parts: Sequence[Part], *, on_tick: Callable[[], None]) -> None:
        self._parts = [_Running(part) for part in parts]
        self._on_tick = on_tick
        self._deaths: deque[float] = deque(maxlen=DEATHS_MAX)
        self._stop = threading.Event()
        self._pipe_read, self._pipe_write = os.pipe()

    @property
    def names(self) -> list[str]:
        """The parts' names in the order in which they start and stop."""
        return [running.part.name for running in self._parts]

    def add(self, part: Part) -> None:
        """Look after one more part, from the next round on."""
        self._parts.append(_Running(part))

    @property
    def pipe(self) -> int:
        """The descriptor whose end of file tells a part that the supervisor is gone."""
        return self._pipe_read

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or SIGHUP (0), or until parts died too often (1)."""
        stop_on_signals(self._stop, signal.SIGTERM, signal.SIGINT)
        # Whoever started us with hang-ups ignored, as nohup does, wants to outlive them.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            stop_on_signals(self._stop, signal.SIGHUP)
        try:
            while not self._stop.is_set():
                if not self._look_after():
                    return 1
                self._on_tick()
                self._stop.wait(POLL_SECONDS)
        finally:
            self._stop_all()
        return 0

    def _look_after(self) -> bool:
        now = time.monotonic()
        for running in self._parts:
            process = running.process
            if process is None:
                if now >= running.start_at:
                    self._start(running, now)
                continue
            code = process.poll()
            if code is None:
                continue
            running.process = None
            if now - running.started_at > DEATHS_WINDOW_SECONDS:
                running.failures = 0
            running.failures += 1
            pause = BACKOFF_FIRST_SECONDS * 2 ** (running.failures - 1)
            running.start_at = now + min(pause, BACKOFF_MAX_SECONDS)
            self._deaths.append(now)
            log.error("part_died", died=running.part.name, exit_code=code)
            if len(self._deaths) == DEATHS_MAX and now - self._deaths[0] <= DEATHS_WINDOW_SECONDS:
                log.error("parts_die_too_often", deaths=DEATHS_MAX, within_seconds=60)
                return False
        return True

    def _start(self, running: _Running, now: float) -> None:
        environment = dict(os.environ)
        if running.failures:
            # A kill point is armed for one life only; the next one shows the recovery.
            environment.pop("TAILRACE_KILL_AT", None)
        # Ctrl-C reaches the whole group, and a part that is just starting would die of it. What is
        # blocked here stays so in the part; what came for us meanwhile is delivered afterwards.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            running.process = subprocess.Popen(  # noqa: S603 - our own command line
                running.part.command,
                pass_fds=(*running.part.descriptors, self._pipe_read),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        running.started_at = now

    def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_TOTAL_SECONDS
        for turn in sorted({running.part.stop_turn for running in self._parts}):
            stopping = [r for r in self._parts if r.part.stop_turn == turn and r.process]
            for running in stopping:
                if running.process is not None:
                    running.process.terminate()
            began = time.monotonic()
            for running in stopping:
                _wait(running, min(began + running.part.stop_seconds, deadline))


def _wait(running: _Running, until: float) -> None:
    process = running.process
    if process is None:
        return
    try:
        process.wait(max(0.2, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        log.error("part_killed", killed=running.part.name)
        process.kill()
        process.wait()
