"""A population that is known already: what is remembered of each user, and what they send.

Of ten users nine have ten properties; a third of all belong to a company, and another third never
signed in. Users came in an order that none of their IDs has.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from benchmarks.generator import Generator, user_of

# Prime, so that it takes every user of a population once.
_STRIDE = 15_485_863
# The n-th of those who send most sends as 1 / n^0.8: of 10 million, 4 % send half of all events.
_SKEW = 0.8
_BARE_OF = 10
_ANONYMOUS_OF = 3  # as the generator has it: the last of three never signs in
_COMPANY_USERS = 100
# So many users the processor's caches hold with ease.
LATELY = 5_000

_ROLES = ("owner", "admin", "editor", "viewer")
_PLANS = ("free", "starter", "growth", "enterprise")
_TAGS = ("beta", "annual", "referred", "newsletter", "webinar", "mobile first")

_encode = msgspec.json.Encoder().encode


class Population:
    """Users 0 to `users`, and a stream of what they send; a seed gives the same stream again."""

    def __init__(self, seed: int, now_micros: int, users: int) -> None:
        self.users = users
        self._chance = random.Random(seed)
        self._source = Generator(seed, now_micros)
        self._lately = min(LATELY, users // _BARE_OF)
        self._fresh = users
        self._merged = 0
        self._updates = 0

    def arrivals(self) -> Iterator[int]:
        """Yield every user once, in the order in which they came."""
        return (at * _STRIDE % self.users for at in range(self.users))

    def evenly(self, events: int) -> list[bytes]:
        """Return events of users of whom all are as likely."""
        return self._events(self._chance.choices(range(self.users), k=events))

    def by_activity(self, events: int) -> list[bytes]:
        """Return events of users of whom few send most."""
        return self._events(self._active(events))

    def lately(self, events: int) -> list[bytes]:
        """Return events of so few users, all with properties, that each was there just now."""
        numbers = self._chance.choices(range(self._lately), k=events)
        return self._events(number * _BARE_OF + 1 + number % (_BARE_OF - 1) for number in numbers)

    def lately_bare(self, events: int) -> list[bytes]:
        """Return events of as many users who have neither properties nor groups."""
        numbers = self._chance.choices(range(self._lately), k=events)
        return self._events(number * _BARE_OF for number in numbers)

    def updating(self, events: int) -> list[bytes]:
        """Return such events that each set two properties."""
        return [
            _encode(self._event(user) | {"user_properties": self._update()})
            for user in self._active(events)
        ]

    def identifying(self, events: int) -> list[bytes]:
        """Return identifies of such users, each with two operations."""
        return [
            _encode(
                self._event(user)
                | {
                    "event_type": "$identify",
                    "user_properties": {"$set": self._update(), "$add": {"opened": 1}},
                }
            )
            for user in self._active(events)
        ]

    def fresh(self, events: int) -> list[bytes]:
        """Return events of as many users who were never seen, each with their properties."""
        users = range(self._fresh, self._fresh + events)
        self._fresh = users.stop
        return [
            _encode(self._event(user) | {"user_properties": properties_of(user)}) for user in users
        ]

    def merging(self, events: int) -> list[bytes]:
        """Return events that each sign a known user in on the device of one who never did."""
        trios = self.users // _ANONYMOUS_OF
        sent = []
        for number in range(self._merged, self._merged + events):
            first = number * _STRIDE % trios * _ANONYMOUS_OF
            sent.append(_encode(self._event(first + 2) | {"user_id": user_of(first)}))
        self._merged += events
        return sent

    def _active(self, events: int) -> Iterator[int]:
        power = 1 - _SKEW
        span = self.users**power - 1
        for _ in range(events):
            rank = int((1 + self._chance.random() * span) ** (1 / power)) - 1
            yield rank * _STRIDE % self.users

    def _events(self, users: Iterable[int]) -> list[bytes]:
        return [_encode(self._event(user)) for user in users]

    def _event(self, user: int) -> dict[str, Any]:
        event = self._source.event(user)
        event.pop("user_properties", None)
        return event

    def _update(self) -> dict[str, str | int]:
        self._updates += 1
        return {"last_page": f"/reports/{self._updates % 1000}", "visits": self._updates}


def properties_of(user: int) -> dict[str, Any]:
    """Return what is remembered of a user: ten properties, or none."""
    if user % _BARE_OF == 0:
        return {}
    return {
        "plan": _PLANS[user % 4],
        "role": _ROLES[user // 4 % 4],
        "seats": user % 40,
        "signed_up": f"2024-{user % 12 + 1:02d}-{user % 28 + 1:02d}",
        "trial": user % 7 == 0,
        "spent": user % 100_000 / 100,
        "tags": [_TAGS[user % 6], _TAGS[user // 6 % 6]],
        "cohort": f"week {user % 52 + 1}",
        "last_page": f"/products/{user % 5000}",
        "visits": user % 300,
    }


def groups_of(user: int) -> dict[str, str]:
    """Return the groups of which a user is."""
    if user % _ANONYMOUS_OF or user % _BARE_OF == 0:
        return {}
    return {"company": f"company-{company_of(user):06d}"}


def company_of(user: int) -> int:
    """Return the number of a user's company; each has a hundred users."""
    return user // _COMPANY_USERS


def company_properties(company: int) -> dict[str, Any]:
    """Return what is remembered of a company."""
    return {"industry": _TAGS[company % 6], "employees": company % 5000, "tier": company % 4}
