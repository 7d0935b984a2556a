"""The one who kills: at named points and at random, alone and together, and again at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from torture import inside
from torture.load import Load
from torture.service import PARTS, ROLES, Service, pause

# So many points are armed at any time, each for another role.
ARMED_MAX = 3
# A point whose process did not come by in this time gives way to another.
POINT_SECONDS = 20.0
# The service lives a little between two kills, or nothing would ever be done: until so many more
# requests are acknowledged, or for the longest time that a busy machine needs for that.
LIFE_REQUESTS = (0, 3, 20)
LIFE_SECONDS_MAX = 8.0
# How long after its birth a process may die once more: mostly while it starts or recovers.
YOUNG_SECONDS = 1.5
# How long to wait for the one who takes a dead one's place.
SUCCESSOR_SECONDS = 5.0
# Every so many kills some seconds without one, in which what is owed can catch up.
BREATH_KILLS = 40
BREATH_SECONDS = 6.0


class Killer:
    """Kill `goal` processes and a few more; count who died where."""

    def __init__(self, service: Service, load: Load, chance: random.Random, goal: int) -> None:
        self._service = service
        self._load = load
        self._chance = chance
        self._goal = goal
        self._missed: Counter[tuple[str, str]] = Counter()
        self._armed: dict[tuple[str, str], float] = {}
        self.at_random: Counter[str] = Counter()
        self.restarts = 0

    def kills(self) -> int:
        """Return how many processes were killed so far."""
        return self.at_random.total() + sum(self._at_points().values())

    def run(self, go_on: Callable[[], bool]) -> None:
        """Kill until the goal is reached or `go_on` says no."""
        steps: list[tuple[float, Callable[[], None]]] = [
            (0.60, self._nobody),
            (0.12, self._one),
            (0.12, self._again_while_young),
            (0.06, self._everything),
            (0.06, self._the_supervisor),
            (0.04, self._restart),
        ]
        goal = self._goal + self.kills()
        breath = self.kills() + BREATH_KILLS
        self._load.ask_for_a_large_file()
        while self.kills() < goal and go_on():
            self._keep_armed()
            (step,) = self._chance.choices([s for _, s in steps], [w for w, _ in steps])
            step()
            self._live()
            if self.kills() >= breath:
                self._disarm()
                breath = self.kills() + BREATH_KILLS
                self._load.ask_for_a_large_file()
                pause(BREATH_SECONDS)
        self._disarm()

    def _live(self) -> None:
        enough = self._load.memory.acknowledged + self._chance.choice(LIFE_REQUESTS)
        self._service.wait_for(lambda: self._load.memory.acknowledged >= enough, LIFE_SECONDS_MAX)

    def _at_points(self) -> dict[tuple[str, str], int]:
        return dict(self._service.counts(inside.POINT_KILLS))

    def _file(self, place: tuple[str, str]) -> Path:
        return inside.armed_file(self._service.folder, *place)

    def _keep_armed(self) -> None:
        """Arm points that were reached before, the rarer the rather, where others went."""
        for place, since in list(self._armed.items()):
            if not self._file(place).exists():
                del self._armed[place]
            elif seconds_since(since) > POINT_SECONDS:
                self._file(place).unlink(missing_ok=True)
                del self._armed[place]
                self._missed[place] += 1
        killed = self._at_points()
        while len(self._armed) < ARMED_MAX:
            busy = {role for role, _ in self._armed}
            reached = [
                place
                for place in self._service.counts(inside.REACHED)
                if place[0] in ROLES and place[0] not in busy
            ]
            if not reached:
                return
            # One that did not come in time is likely to be rare: others go first.
            weights = [1 / (1 + killed.get(p, 0) + self._missed[p]) ** 2 for p in reached]
            (place,) = self._chance.choices(reached, weights)
            self._file(place).touch()
            self._armed[place] = time.monotonic()
            self._provoke(*place)

    def _disarm(self) -> None:
        for place in self._armed:
            self._file(place).unlink(missing_ok=True)
        self._armed.clear()

    def _provoke(self, role: str, point: str) -> None:
        """Bring about what seldom comes by itself."""
        if point == "log.recovering":
            self._kill_role(role)
        elif point in ("export.part", "export.completed"):
            self._load.ask_for_a_large_file()

    def _nobody(self) -> None:
        """Let those live who reach no armed point."""

    def _one(self) -> None:
        self._kill_role(self._chance.choice(PARTS))

    def _again_while_young(self) -> None:
        """Kill a part, and whoever takes its place while it is still coming up."""
        role = self._chance.choice(PARTS)
        self._kill_role(role)
        for _ in range(self._chance.choice((1, 1, 2))):
            if not self._service.wait_for(lambda: self._living(role), SUCCESSOR_SECONDS):
                return
            pause(self._chance.uniform(0, YOUNG_SECONDS))
            self._kill_role(role)

    def _everything(self) -> None:
        for process, role in reversed(self._service.processes()):
            if role in ROLES and self._service.kill(process):
                self.at_random[role] += 1

    def _the_supervisor(self) -> None:
        """Kill the supervisor: its parts notice, and end in order or are overtaken."""
        self._kill_role("serve")

    def _restart(self) -> None:
        self._service.restart()
        self.restarts += 1

    def _living(self, role: str) -> list[int]:
        return [process for process, of in self._service.processes() if of == role]

    def _kill_role(self, role: str) -> None:
        for process in self._living(role)[-1:]:
            if self._service.kill(process):
                self.at_random[role] += 1


def seconds_since(began: float) -> float:
    """Return the real seconds since a moment of `time.monotonic`."""
    return time.monotonic() - began
