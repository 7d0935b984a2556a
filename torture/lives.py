"""The processor as real processes over one data folder: one that lives, or one life after another.

Each is forked by `python -m torture.lives`, which has everything imported, so that dozens live and
die in the time of one start.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from tailrace import killpoints
from tailrace.app import processor
from tailrace.app.part import PartContext
from tailrace.demo.surroundings import clean
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.process import checkpoint, chunks, loop
from tailrace.seal import closer, handing
from tailrace.seal.handing import CLOSED_THROUGH
from tailrace.state import insertions

ROOT = Path(__file__).resolve().parents[1]
# A life that takes longer is stuck, however busy the machine is.
LIFE_SECONDS_MAX = 600.0
# Processor time after which a life is killed at random: while it starts, soon after, late. Time on
# the wall would be over too early on a busy machine, and too late on a fast one.
SECONDS = (0.01, 0.03, 0.06, 0.12)
# The same of a life that is to die at a point, and does not come there.
POINT_SECONDS = 0.1
POLL_SECONDS = 0.002
AT_RANDOM = 0.4
# The how manieth time that the point is reached.
TURNS = (1, 1, 2, 5)
SAID_CHARACTERS = 3000


class Life(msgspec.Struct, frozen=True):
    """One processor: over which folder, until which hour (its number) is sealed, killed where.

    Without a seed it has the product's sizes.
    """

    data: str
    last_hour: int
    armed: str = ""
    seed: int | None = None


class Lives:
    """Lets one processor after the other live; `points` and `at_random` count deaths."""

    def __init__(self, chance: random.Random, points: list[str]) -> None:
        self._chance = chance
        self.points = Counter(dict.fromkeys(points, 0))
        self.at_random = 0
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._forking = subprocess.Popen(
            [sys.executable, "-m", "torture.lives"],
            env={**clean(os.environ), "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Lives:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # At the end of its input it ends.
        self._forking.communicate()

    @property
    def kills(self) -> int:
        """How many died so far."""
        return self.points.total() + self.at_random

    def live(self, data: Path, last_hour: Hour) -> None:
        """Let one processor work unkilled, with the product's sizes, until the hour is sealed."""
        code = self._one(Life(str(data), last_hour.number), float("inf"))
        if code != 0:
            raise _ended_by_itself(data, code)

    def die(self, data: Path, last_hour: Hour, kills_max: int) -> None:
        """Kill up to so many processors, until one has sealed the hour; then let one see to it."""
        chance = self._chance
        until = self.kills + kills_max
        while self.kills < until:
            point, armed, seconds = "", "", chance.uniform(0.5, 1.5) * chance.choice(SECONDS)
            if chance.random() >= AT_RANDOM:
                # The rarer ones the rather.
                weights = [1 / (1 + killed) ** 2 for killed in self.points.values()]
                (point,) = chance.choices(list(self.points), weights)
                armed, seconds = f"{point}:{chance.choice(TURNS)}", POINT_SECONDS
            life = Life(str(data), last_hour.number, armed, chance.getrandbits(32))
            code = self._one(life, seconds)
            if code == 0:
                break
            if code is None:
                self.at_random += 1
            elif code == -signal.SIGKILL:
                self.points[point] += 1
            else:
                raise _ended_by_itself(data, code)
        self.live(data, last_hour)

    def _one(self, life: Life, seconds: float) -> int | None:
        """Return a processor's exit code, or None if it was killed when its time was up."""
        told, said = self._forking.stdin, self._forking.stdout
        assert told is not None
        assert said is not None
        told.write(msgspec.json.encode(life) + b"\n")
        told.flush()
        process = int(said.readline())
        until = time.monotonic() + LIFE_SECONDS_MAX
        in_time = True
        while in_time and not select.select([said], [], [], POLL_SECONDS)[0]:
            stuck = time.monotonic() > until
            if stuck or _used_seconds(process) >= seconds:
                in_time = False
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if stuck:
                raise AssertionError(f"{life} finds no end within {LIFE_SECONDS_MAX} s")
        code = int(said.readline())
        return None if code == -signal.SIGKILL and not in_time else code


def _used_seconds(process: int) -> float:
    """Return how much processor time a process took; 0 of one that is gone."""
    try:
        # What the C library's clock_getcpuclockid returns on Linux.
        return time.clock_gettime(~process << 3 | 2)
    except OSError:
        return 0.0


def _ended_by_itself(data: Path, code: int | None) -> AssertionError:
    said = _said(data).read_text(encoding="utf-8", errors="replace")[-SAID_CHARACTERS:]
    return AssertionError(f"a processor ended by itself with {code}: {said}")


def _said(data: Path) -> Path:
    return data.with_name(f"{data.name}.err")


def main() -> None:
    """Fork for each life, say the child's number and then its exit code; end with the input."""
    # Imported late by the product, and slowly.
    import alembic.command
    import alembic.config  # noqa: F401

    for line in sys.stdin.buffer:
        life = msgspec.json.decode(line, type=Life)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _be(life)
                code = 0
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be(life: Life) -> None:
    """Be a processor, in a process of its own."""
    data = Path(life.data)
    descriptor = os.open(_said(data), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(descriptor, 2)
    if life.seed is not None:
        _change_sizes(random.Random(life.seed))
    context = PartContext.open(data, "processor", pipe=-1)
    context.stop = _Sealed(context.folder, life.last_hour)
    killpoints.arm(life.armed)
    try:
        processor.run(context)
    except BaseException:
        traceback.print_exc()
        raise


class _Sealed(threading.Event):
    """Stops a part that rests, once the hour is sealed."""

    def __init__(self, folder: DataFolder, last_hour: int) -> None:
        super().__init__()
        self._database = folder.processing_database
        self._last_hour = last_hour

    def wait(self, timeout: float | None = None) -> bool:
        """Rest, after a look at what is sealed; the part's heart beats on without one."""
        if threading.current_thread() is not threading.main_thread():
            return super().wait(timeout)
        uri = f"{self._database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            row = connection.execute(
                "SELECT value FROM meta WHERE name = ?", (CLOSED_THROUGH,)
            ).fetchone()
        if row is not None and int(row[0]) >= self._last_hour:
            self.set()
        return super().wait(timeout)


def _change_sizes(chance: random.Random) -> None:
    """Cut the work elsewhere than any other life does, from every event to hardly ever.

    Not one rule or order of steps is changed.
    """
    _draw(chance, loop, "ROUND_BYTES", (500, 5_000, 50_000))
    _draw(chance, loop, "BATCH_EVENTS", (1, 30, 4_000))
    _draw(chance, loop, "CHECKPOINT_MICROS", (0, 0, 20_000, 300_000))
    _draw(chance, loop, "IDENTITY_CACHE_BYTES", (1, 6_000, 1 << 26))
    _draw(chance, loop, "PERSON_CACHE_BYTES", (1, 6_000, 1 << 25))
    _draw(chance, loop, "GROUP_CACHE_BYTES", (1, 6_000, 1 << 23))
    _draw(chance, closer, "SCOPES_PER_COMMIT", (1, 2, 500))
    _draw(chance, closer, "FILES_PER_COMMIT", (1, 2, 500))
    _draw(chance, handing, "HANDED_PER_COMMIT", (1, 2, 500))
    _draw(chance, insertions, "ROW_KEYS_MAX", (16, 100))
    _draw(chance, insertions, "RUNS_PER_MERGE", (2, 3))
    small = chance.choice((2_500, 60_000))
    for module in (checkpoint, chunks, loop):
        _draw(chance, module, "SMALL_RAW_BYTES", (small,))


def _draw(chance: random.Random, module: Any, name: str, values: tuple[int, ...]) -> None:
    """Replace a size that is there: a renamed one must not be missed in silence."""
    if not hasattr(module, name):
        raise AttributeError(f"{module.__name__} has no {name} any more; see torture/lives.py")
    setattr(module, name, chance.choice(values))


if __name__ == "__main__":
    main()
