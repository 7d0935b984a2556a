"""`Refusals`: the requests of each project that were refused last, for the page that shows them."""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

# What a page shows; with so many projects and so long answers all of it is under a megabyte.
REFUSALS_MAX = 20
PROJECTS_MAX = 50
ANSWER_CHARACTERS_MAX = 600


class Refusal(msgspec.Struct, frozen=True):
    """A request that was answered with anything but 200, at `at_micros` of the service's time.

    `answer` is the beginning of what its sender read.
    """

    at_micros: int
    project: int
    path: str
    status: int
    answer: str


class Refusals:
    """Keeps a few of each project. Those whose key is no project's belong to none and are not kept.

    Used on the event loop; a request that is accepted costs nothing here.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._kept: OrderedDict[int, deque[Refusal]] = OrderedDict()

    def note(self, at_micros: int, project: int, path: str, status: int, body: bytes) -> None:
        """Keep one, instead of the project's oldest where there are many."""
        # In UTF-8 no character takes more than four bytes.
        answer = body[: 4 * ANSWER_CHARACTERS_MAX].decode("utf-8", "ignore")
        found = Refusal(at_micros, project, path, status, answer[:ANSWER_CHARACTERS_MAX])
        self._kept.setdefault(project, deque(maxlen=REFUSALS_MAX)).append(found)
        self._kept.move_to_end(project)
        if len(self._kept) > PROJECTS_MAX:
            self._kept.popitem(last=False)
        self.changes += 1

    def all(self) -> list[Refusal]:
        """Return what is kept, of each project the oldest first."""
        return [one for kept in self._kept.values() for one in kept]
