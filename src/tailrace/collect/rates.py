"""`Rates`: who sends too fast, counted by user and device (sections 3.1.12 and 3.2, D35).

Called by `server` where the operator switched rate limits on; the time is passed in. Counts live
in memory, one set in each collector process.
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from tailrace.clock import MICROS
from tailrace.hours import HOUR_MICROS

# A rate is an average over 30 s, a quota a sum over 24 h, each in whole steps.
WINDOW_SECONDS = 30
QUOTA_HOURS = 24
# Names that an endpoint remembers, at some 450 bytes each. One is forgotten only if as many
# others were counted since, so never one that sends too fast.
NAMES_MAX = 65_536

_USER, _DEVICE = "user", "device"


class Rate(msgspec.Struct, frozen=True):
    """What one endpoint takes from one user, and from one device, of a project.

    `events_per_day` counts from the moment at which the rate was first exceeded.
    """

    events_per_second: int
    events_per_day: int | None = None


class EventIds(msgspec.Struct, frozen=True, gc=False):
    """Whose event it is."""

    user_id: str | None = None
    device_id: str | None = None


class _Upload(msgspec.Struct, frozen=True, gc=False):
    events: list[EventIds]


class Throttled(msgspec.Struct, frozen=True):
    """Who is too fast, with their events a second, and over the quota, with their daily count.

    The numbers include the refused request. `events` are the indexes of their events. `endless`
    says that some one exceeds the rate by this request alone, so that waiting is of no use.
    """

    rate: Rate
    users: dict[str, int]
    devices: dict[str, int]
    quota_users: dict[str, int]
    quota_devices: dict[str, int]
    events: list[int]
    endless: bool


class Windows:
    """Sums over the last `steps` steps of time, by name; the names counted last are kept."""

    def __init__(self, *, steps: int, step_micros: int, names_max: int = NAMES_MAX) -> None:
        self.forgotten = 0
        self._steps = steps
        self._step_micros = step_micros
        self._names_max = names_max
        self._rings: OrderedDict[bytes, _Ring] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rings)

    def total(self, name: bytes, now_micros: int) -> int | None:
        """Return the sum, or None for a name of which nothing is known."""
        ring = self._rings.get(name)
        step = now_micros // self._step_micros
        if ring is None or ring.is_over(step):
            return None
        return ring.total(step)

    def add(self, name: bytes, now_micros: int, count: int) -> None:
        """Count; 0 makes the name known."""
        step = now_micros // self._step_micros
        ring = self._rings.get(name)
        if ring is None:
            self._make_room(step)
            ring = self._rings[name] = _Ring(self._steps, step)
        else:
            self._rings.move_to_end(name)
        ring.add(step, count)

    def take_back(self, name: bytes, counted_micros: int, count: int) -> None:
        """Undo an `add` of that moment."""
        ring = self._rings.get(name)
        if ring is not None:
            ring.take_back(counted_micros // self._step_micros, count)

    def _make_room(self, step: int) -> None:
        while self._rings:
            over = next(iter(self._rings.values())).is_over(step)
            if not over and len(self._rings) < self._names_max:
                return
            self._rings.popitem(last=False)
            self.forgotten += not over


class _Ring:
    """Counts of the last steps, the newest at `last`."""

    __slots__ = ("_counts", "_last")

    def __init__(self, steps: int, step: int) -> None:
        self._counts = array("I", bytes(4 * steps))
        self._last = step

    def is_over(self, step: int) -> bool:
        return step - self._last >= len(self._counts)

    def total(self, step: int) -> int:
        counts, last = self._counts, self._last
        if step == last:
            return sum(counts)
        return sum(counts[kept % len(counts)] for kept in range(step - len(counts) + 1, last + 1))

    def add(self, step: int, count: int) -> None:
        counts = self._counts
        for passed in range(self._last + 1, min(step, self._last + len(counts)) + 1):
            counts[passed % len(counts)] = 0
        self._last = step
        counts[step % len(counts)] += count

    def take_back(self, step: int, count: int) -> None:
        if self._last - step < len(self._counts):
            place = step % len(self._counts)
            self._counts[place] -= min(count, self._counts[place])


class Admitted(msgspec.Struct, frozen=True):
    """What a request was counted as, so that it can be taken back if it isn't stored."""

    counted_micros: int
    counted: list[tuple[Windows, bytes, int]]


class Rates:
    """The limits of every endpoint and what was counted for them."""

    def __init__(self, by_path: Mapping[str, Rate], *, names_max: int = NAMES_MAX) -> None:
        self._by_path = {path: _Endpoint(rate, names_max) for path, rate in by_path.items()}

    @property
    def forgotten(self) -> int:
        """How many names were given up early, because there were too many."""
        return sum(
            endpoint.recent.forgotten + endpoint.daily.forgotten
            for endpoint in self._by_path.values()
        )

    def admit(
        self, path: str, project: int, events: Sequence[EventIds], now_micros: int
    ) -> Admitted | Throttled:
        """Count the events if everyone in the request may send them, else count nothing.

        `now_micros` is steady time.
        """
        endpoint = self._by_path[path]
        wanted = Counter((_USER, event.user_id) for event in events if event.user_id is not None)
        wanted.update((_DEVICE, event.device_id) for event in events if event.device_id is not None)
        names = {key: _name(project, *key) for key in wanted}
        fast: dict[str, dict[str, int]] = {_USER: {}, _DEVICE: {}}
        over: dict[str, dict[str, int]] = {_USER: {}, _DEVICE: {}}
        endless = False
        for (kind, identifier), count in wanted.items():
            name = names[kind, identifier]
            daily = endpoint.daily.total(name, now_micros)
            if daily is not None and daily + count > endpoint.day_max:
                over[kind][identifier] = daily + count
            recent = count + (endpoint.recent.total(name, now_micros) or 0)
            if recent > endpoint.window_max:
                fast[kind][identifier] = -(-recent // WINDOW_SECONDS)
                endless = endless or count > endpoint.window_max
                endpoint.judge_spamming(name, now_micros)
        if not any((*fast.values(), *over.values())):
            counts = {names[key]: count for key, count in wanted.items()}
            return Admitted(now_micros, endpoint.count(counts, now_micros))
        users, devices = fast[_USER] | over[_USER], fast[_DEVICE] | over[_DEVICE]
        indexes = [
            index
            for index, event in enumerate(events)
            if event.user_id in users or event.device_id in devices
        ]
        return Throttled(
            endpoint.rate, fast[_USER], fast[_DEVICE], over[_USER], over[_DEVICE], indexes, endless
        )

    @staticmethod
    def take_back(admitted: Admitted) -> None:
        """Forget that the events were counted: they were not stored."""
        for windows, name, count in admitted.counted:
            windows.take_back(name, admitted.counted_micros, count)


class _Endpoint:
    """One endpoint's limits and counts."""

    def __init__(self, rate: Rate, names_max: int) -> None:
        self.rate = rate
        self.window_max = rate.events_per_second * WINDOW_SECONDS
        self.day_max = rate.events_per_day or 0
        self.recent = Windows(steps=WINDOW_SECONDS, step_micros=MICROS, names_max=names_max)
        # Only those who were judged spamming are in here.
        self.daily = Windows(steps=QUOTA_HOURS, step_micros=HOUR_MICROS, names_max=names_max)

    def judge_spamming(self, name: bytes, now_micros: int) -> None:
        if self.rate.events_per_day is not None:
            self.daily.add(name, now_micros, 0)

    def count(
        self, counts: Mapping[bytes, int], now_micros: int
    ) -> list[tuple[Windows, bytes, int]]:
        counted = [(self.recent, name, count) for name, count in counts.items()]
        for name, count in counts.items():
            if self.daily.total(name, now_micros) is not None:
                counted.append((self.daily, name, count))
        for windows, name, count in counted:
            windows.add(name, now_micros, count)
        return counted


def event_ids(body: bytes) -> list[EventIds]:
    """Return whose events an accepted body holds, in order."""
    return _decode(body).events


def _name(project: int, kind: str, identifier: str) -> bytes:
    # Identifiers are up to 1,024 characters long; a digest of them takes 16 bytes.
    return blake2b(f"{project} {kind} {identifier}".encode(), digest_size=16).digest()


_decode = msgspec.json.Decoder(_Upload).decode
