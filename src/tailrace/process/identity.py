"""Which amplitude id an event gets: the decision table of behaviour 4.3, per organization.

A device's value is its amplitude id, negative while that id never had a user ID. An anonymous id
belongs to one device only: another device gets an id by a user alone. So the sign can't go stale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from tailrace.process.memory import ENTRY_BYTES, Journal, Recent, put, text_bytes
from tailrace.state import processing_rows as rows

# Beyond this a JSON reader that keeps numbers as doubles would change an id.
AMPLITUDE_ID_MAX = 2**53 - 1

# (organization, device id or user id)
Key = tuple[int, str]


class Merge(msgspec.Struct, frozen=True, gc=False):
    """An anonymous id that turned out to be a known user's (row 7 of 4.3; D9: milliseconds)."""

    merged_amplitude_id: int
    organization: int
    hour: int
    stamp: int
    merge_time: int
    merge_server_time: int


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When a record came: its log hour, its stamp and the same as upload time (ms)."""

    hour: int
    stamp: int
    upload_millis: int


class Identity:
    """Devices, users and the next id: those of the database, and changes not committed yet."""

    def __init__(
        self, connection: rows.Connection, next_amplitude_id: int, cache_bytes: int
    ) -> None:
        self._connection = connection
        self._devices: Recent[Key, int] = Recent(cache_bytes // 2, _id_of)
        self._users: Recent[Key, int] = Recent(cache_bytes // 2, _id_of)
        self._changed_devices: dict[Key, int] = {}
        self._changed_users: dict[Key, int] = {}
        self._changed_identities: dict[int, tuple[int, str | None]] = {}
        self._merges: dict[int, Merge] = {}
        self._changed_text_bytes = 0
        self._counter = {"next": next_amplitude_id}

    def look_up(self, devices: Iterable[Key], users: Iterable[Key]) -> None:
        """Bring what is known of a batch's devices and users into memory."""
        self._devices.age()
        self._users.age()
        for organization, ids in _missing(devices, self._devices, self._changed_devices):
            for device_id, amplitude_id, anonymous in rows.find_devices(
                self._connection, organization, ids
            ):
                value = -amplitude_id if anonymous else amplitude_id
                self._devices.young[organization, device_id] = value
        for organization, ids in _missing(users, self._users, self._changed_users):
            for user_id, amplitude_id in rows.find_users(self._connection, organization, ids):
                self._users.young[organization, user_id] = amplitude_id

    def likely(self, devices: Iterable[Key | None], users: Iterable[Key | None]) -> set[int]:
        """Return the ids that events with these keys get if nothing changes before them."""
        at_device, of_user = self._devices.young, self._users.young
        found = {
            (of_user.get(user) if user else None) or (at_device.get(device, 0) if device else 0)
            for device, user in zip(devices, users, strict=True)
        }
        found.discard(0)
        return {abs(amplitude_id) for amplitude_id in found}

    def known(self, devices: Iterable[Key], users: Iterable[Key]) -> set[int]:
        """Return the amplitude ids that keys of the batch have now, after `look_up`."""
        found = {abs(self._devices.young.get(key, 0)) for key in devices}
        found.update(self._users.young.get(key, 0) for key in users)
        found.discard(0)
        return found

    def resolve(
        self,
        device: Key,
        user: Key | None,
        event_millis: int,
        moment: Moment,
        journal: Journal,
    ) -> int:
        """Return the event's amplitude id and remember what the event says (rows 1 to 18).

        User IDs win over device IDs; an id that has a user is never merged (rows 9 and 10).
        `event_millis` becomes the merge time; for an identify pass its upload time (D9).
        """
        at_device = self._devices.young.get(device)
        if user is None:
            if at_device is not None:
                return abs(at_device)
            return self._new_anonymous(device, journal)
        of_user = self._users.young.get(user)
        if of_user is not None:
            if at_device != of_user:
                if at_device is not None and at_device < 0:
                    merge = Merge(
                        of_user,
                        user[0],
                        moment.hour,
                        moment.stamp,
                        event_millis,
                        moment.upload_millis,
                    )
                    put(journal, self._merges, -at_device, merge)
                self._set_device(device, of_user, journal)
            return of_user
        if at_device is not None and at_device < 0:
            return self._take_over(device, user, -at_device, journal)
        amplitude_id = self._next_id(journal)
        self._set_user(user, amplitude_id, journal)
        self._set_device(device, amplitude_id, journal)
        return amplitude_id

    def _new_anonymous(self, device: Key, journal: Journal) -> int:
        amplitude_id = self._next_id(journal)
        put(journal, self._changed_identities, amplitude_id, (device[0], None))
        self._set_device(device, -amplitude_id, journal)
        return amplitude_id

    def _take_over(self, device: Key, user: Key, amplitude_id: int, journal: Journal) -> int:
        self._set_user(user, amplitude_id, journal)
        self._set_device(device, amplitude_id, journal)
        return amplitude_id

    def _set_device(self, device: Key, value: int, journal: Journal) -> None:
        put(journal, self._devices.young, device, value)
        put(journal, self._changed_devices, device, value)
        self._changed_text_bytes += text_bytes(device[1])

    def _set_user(self, user: Key, amplitude_id: int, journal: Journal) -> None:
        put(journal, self._users.young, user, amplitude_id)
        put(journal, self._changed_users, user, amplitude_id)
        self._changed_text_bytes += text_bytes(user[1])
        put(journal, self._changed_identities, amplitude_id, user)

    def _next_id(self, journal: Journal) -> int:
        amplitude_id = self._counter["next"]
        if amplitude_id > AMPLITUDE_ID_MAX:
            raise OverflowError("No amplitude id is left below 2^53.")
        put(journal, self._counter, "next", amplitude_id + 1)
        return amplitude_id

    @property
    def next_amplitude_id(self) -> int:
        """The id that the next person gets; kept with every checkpoint."""
        return self._counter["next"]

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted changes take."""
        return self._changed_text_bytes + ENTRY_BYTES * (
            len(self._changed_devices)
            + len(self._changed_users)
            + len(self._changed_identities)
            + len(self._merges)
        )

    def write(self, connection: rows.Connection) -> None:
        """Write what changed; tell `saved` after the commit."""
        rows.write_devices(
            connection,
            [(*key, abs(value), value < 0) for key, value in sorted(self._changed_devices.items())],
        )
        rows.write_users(
            connection, [(*key, value) for key, value in sorted(self._changed_users.items())]
        )
        rows.write_identities(
            connection,
            [(key, *self._changed_identities[key]) for key in sorted(self._changed_identities)],
        )
        rows.write_merges(
            connection,
            [(loser, *msgspec.structs.astuple(merge)) for loser, merge in self._merges.items()],
        )

    def saved(self) -> None:
        """Forget which entries were not committed."""
        self._changed_devices.clear()
        self._changed_users.clear()
        self._changed_identities.clear()
        self._merges.clear()
        self._changed_text_bytes = 0


def _id_of(key: Key, _: int) -> str:
    return key[1]


def _missing(
    keys: Iterable[Key], recent: Recent[Key, int], changed: dict[Key, int]
) -> list[tuple[int, list[str]]]:
    """Bring the kept ones of `keys` into memory; return the others by organization."""
    missing: defaultdict[int, list[str]] = defaultdict(list)
    for key in keys:
        if not recent.wanted(key):
            continue
        recent.reserve(key[1])
        value = changed.get(key)
        if value is None:
            missing[key[0]].append(key[1])
        else:
            recent.young[key] = value
    return list(missing.items())
