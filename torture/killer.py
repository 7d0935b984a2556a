"""The one who kills: at named points and at random, alone and together, and again at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable

from torture import inside
from torture.load import Load
from torture.service import PARTS, ROLES, Service, pause

# How long an armed point may wait for its process; then it is disarmed.
POINT_SECONDS = 5.0
# So many points are armed together.
AT_ONCE = (1, 1, 2, 3)
# The service lives a little between two kills, or nothing would ever be done.
LIFE_SECONDS = (0.0, 0.2, 0.6)
# How long after its birth a process may die once more: mostly while it starts or recovers.
YOUNG_SECONDS = 1.5
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
        self.at_random: Counter[str] = Counter()
        self.restarts = 0

    def kills(self) -> int:
        """Return how many processes were killed so far."""
        return self.at_random.total() + sum(self._at_points().values())

    def run(self, go_on: Callable[[], bool]) -> None:
        """Kill until the goal is reached or `go_on` says no."""
        rounds: list[tuple[float, Callable[[], None]]] = [
            (0.60, self._at_some_points),
            (0.12, self._one),
            (0.14, self._again_while_young),
            (0.06, self._everything),
            (0.05, self._the_supervisor),
            (0.03, self._restart),
        ]
        breath = BREATH_KILLS
        self._load.ask_for_a_large_file()
        goal = self._goal + self.kills()
        while self.kills() < goal and go_on():
            (step,) = self._chance.choices([s for _, s in rounds], [w for w, _ in rounds])
            step()
            pause(self._chance.choice(LIFE_SECONDS))
            if self.kills() >= breath:
                breath = self.kills() + BREATH_KILLS
                self._load.ask_for_a_large_file()
                pause(BREATH_SECONDS)

    def kill_at(self, places: Iterable[tuple[str, str]], provoke: Callable[[], object]) -> None:
        """Kill the next process of each role at a point, as far as they come there in time."""
        armed = {
            (role, point): inside.armed_file(self._service.folder, role, point)
            for role, point in places
        }
        for file in armed.values():
            file.touch()
        provoke()
        self._service.wait_for(
            lambda: not any(file.exists() for file in armed.values()), POINT_SECONDS
        )
        for place, file in armed.items():
            try:
                file.unlink()
            except FileNotFoundError:
                continue
            self._missed[place] += 1

    def _at_points(self) -> dict[tuple[str, str], int]:
        return dict(self._service.counts(inside.POINT_KILLS))

    def _at_some_points(self) -> None:
        """Choose points that were reached before, the rarer the rather, and kill there."""
        killed = self._at_points()
        reached = [place for place in self._service.counts(inside.REACHED) if place[0] in ROLES]
        if not reached:
            return
        # One that did not come in time is likely to be rare: others go first.
        weights = [
            1 / (1 + killed.get(place, 0) + 2 * self._missed[place]) ** 2 for place in reached
        ]
        places = set(self._chance.choices(reached, weights, k=self._chance.choice(AT_ONCE)))
        self.kill_at(places, lambda: self._provoke(places))

    def _provoke(self, places: Iterable[tuple[str, str]]) -> None:
        """Bring about what seldom comes by itself."""
        for role, point in places:
            if point == "log.recovering":
                self._kill_role(role)
            elif point in ("export.part", "export.completed"):
                self._load.ask_for_a_large_file()

    def _one(self) -> None:
        self._kill_role(self._chance.choice(PARTS))

    def _again_while_young(self) -> None:
        """Kill a part, and whoever takes its place while it is still coming up."""
        role = self._chance.choice(PARTS)
        self._kill_role(role)
        for _ in range(self._chance.choice((1, 1, 2))):
            if not self._service.wait_for(lambda: self._living(role), POINT_SECONDS):
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
