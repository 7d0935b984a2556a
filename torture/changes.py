"""Owners' changes by commands: each is sometimes killed on the way, and then made again."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence

from torture import inside
from torture.service import Service

TRIES_MAX = 20
# What a command that changes a destination comes by; `held` only where runs have to let go first.
BEFORE_COMMIT = "destination.before_commit"
HELD = "destination.held"
KILL_SECONDS = (0.5, 2.5)


class Changes:
    """Run commands that change a destination; `count` hears of each that was killed."""

    def __init__(
        self, service: Service, chance: random.Random, count: Callable[[str], None]
    ) -> None:
        self._service = service
        self._chance = chance
        self._count = count

    def make(self, words: Sequence[str], done: Callable[[], bool]) -> bool:
        """Make a change, killed at points and at random; say whether it was made.

        A change may be refused, as one of a place is while manual exports are under way.
        """
        kill_after = self._chance.choice((None, self._chance.uniform(*KILL_SECONDS)))
        code, _ = self._run(words, self._points(), kill_after)
        for _ in range(TRIES_MAX):
            if code != -signal.SIGKILL or done():
                return code == 0 or done()
            code, _ = self._run(words, (), None)
        raise AssertionError(f"{words} was killed {TRIES_MAX} times")

    def told(self, words: Sequence[str]) -> str | None:
        """Make a change and return what it said; killed only where nothing is changed yet.

        None if it was refused.
        """
        code, out = self._run(words, self._points(), None)
        if code == -signal.SIGKILL:
            code, out = self._run(words, (), None)
        return out if code == 0 else None

    def _points(self) -> tuple[str, ...]:
        return self._chance.choice(((), (BEFORE_COMMIT,), (HELD,)))

    def _run(
        self, words: Sequence[str], points: Sequence[str], kill_after: float | None
    ) -> tuple[int, str]:
        armed = [inside.armed_file(self._service.folder, "command", point) for point in points]
        for path in armed:
            path.touch()
        code, out, err = self._service.command(*words, kill_after=kill_after)
        for path in armed:
            path.unlink(missing_ok=True)
        if code == -signal.SIGKILL:
            self._count("killed while changed")
        elif "Traceback" in err:
            raise AssertionError(f"{words} failed: {err[-600:]}")
        return code, out
