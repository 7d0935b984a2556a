"""Events of a long hour: bodies made once, whose insert IDs are new each time they are sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from benchmarks import load
from benchmarks.generator import Generator, bodies
from benchmarks.places import Place

# So many distinct requests of a project are made at the most; more would only take longer to make.
DISTINCT = 500
_INSERT_ID = re.compile(rb'("insert_id":")[0-9a-f-]{36}')


class Traffic:
    """Requests of one or several projects in turn, without end; no insert ID comes twice."""

    def __init__(
        self, places: Sequence[Place], seed: int, now_micros: int, each: int, distinct: int
    ) -> None:
        """Make `distinct` bodies of `each` events, dealt to the projects in turn."""
        source = Generator(seed, now_micros)
        self._pieces: list[list[bytes]] = []
        for number in range(distinct):
            place = places[number % len(places)]
            (body,) = bodies(place.api_key, source.events(each), each)
            self._pieces.append(_INSERT_ID.split(body))
        self.sent = 0
        self._run = os.urandom(8).hex().encode()

    def requests(self, count: int) -> Iterator[bytes]:
        """Yield the next `count` whole HTTP requests."""
        for _ in range(count):
            yield load.http_request(self._body())

    def _body(self) -> bytes:
        pieces = self._pieces[self.sent % len(self._pieces)]
        self.sent += 1
        number = self.sent
        parts = [pieces[0]]
        # Split with its group, a body is: text, `"insert_id":"`, text, `"insert_id":"`, …
        for at in range(1, len(pieces), 2):
            parts += (
                pieces[at],
                b"%b-%08x-%06x" % (self._run, number, at),
                pieces[at + 1],
            )
        return b"".join(parts)
