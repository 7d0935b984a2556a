"""What the clients of a history send: requests of few devices and users, in every way there is.

Devices are logged in and out, shared and replaced; users have several. One seed is one history.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import deque
from typing import Any
from urllib.parse import urlencode

import msgspec

from tailrace.clock import MICROS

DAY_MILLIS = 24 * 3600 * 1000
# Few of each, so that they meet again and again.
DEVICES, USERS = 12, 9
# Requests that may come once more, as they were.
REMEMBERED = 60
EVENTS_MAX = 9
ADDRESSES = ("203.0.113.7", "198.51.100.9", "192.0.2.77")
OPERATIONS = (
    "$set", "$setOnce", "$add", "$append", "$prepend", "$preInsert", "$postInsert", "$remove",
    "$unset", "$delete",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *(1, -2.5, 10**17, "5", "x", "é\u2028", True, None, "long " * 300),
    *([1, "x"], ["x", "x"], [], {"k": [1]}, {}),
)
_FORM = {b"content-type": b"application/x-www-form-urlencoded"}


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, and how many seconds go by before it."""

    method: str
    path: str
    query: bytes = b""
    headers: dict[bytes, bytes] = {}
    body: bytes = b""


class Crowd:
    """The clients of some projects, whose API keys are given by organization."""

    def __init__(self, chance: random.Random, api_keys: dict[int, list[str]]) -> None:
        self._chance = chance
        self._api_keys = api_keys
        # Who uses a device now, in which organization; devices are replaced at some logouts.
        self._users: dict[tuple[int, str], str | None] = {}
        self._generations: dict[tuple[int, int], int] = {}
        self._past: deque[Request] = deque(maxlen=REMEMBERED)
        self._inserts = 0

    def request(self, now_micros: int) -> Request:
        """Return what is sent next."""
        organization = self._chance.choice(list(self._api_keys))
        api_key = self._chance.choice(self._api_keys[organization])
        now_millis = now_micros // 1000
        kind = self._chance.random()
        if self._past and kind < 0.1:
            return self._chance.choice(self._past)
        if kind < 0.16:
            return self._form("/identify", api_key, self._identification(organization))
        if kind < 0.21:
            return self._form("/groupidentify", api_key, self._group_identification())
        if kind < 0.25:
            return self._mapping(api_key)
        if kind < 0.30:
            return self._legacy(organization, api_key, now_millis)
        request = self._upload(organization, api_key, now_millis)
        self._past.append(request)
        return request

    def probes(self, now_micros: int) -> list[Request]:
        """Return requests that show what is known of every device, user and group."""
        found = []
        for organization, api_keys in self._api_keys.items():
            devices = [
                *(self._device(organization, number) for number in range(DEVICES)),
                *sorted({device for of, device in self._users if of == organization}),
            ]
            users = [_user(number) for number in range(USERS)]
            named = [{"device_id": device} for device in devices]
            named += [{"user_id": user} for user in users]
            groups = {"team": ["red", "blue"], "org": "1", "city": "x"}
            for api_key in api_keys:
                opened = {"event_type": "probe", "time": now_micros // 1000, "groups": groups}
                adding = {"$add": {"a": 1}, "$append": {"b": "probe"}, "$set": {"probed": True}}
                changed = {"event_type": "$identify", "user_properties": adding}
                joined = {"device_id": devices[0], "user_id": users[-1]}
                events: list[dict[str, Any]] = [
                    *(opened | who for who in named),
                    *(changed | who for who in named),
                    opened | joined,
                    *(opened | who for who in reversed(named)),
                ]
                found.append(_upload("/batch", api_key, events))
        return [*found, *self._past]

    def _device(self, organization: int, number: int) -> str:
        return f"device-{number}-{self._generations.get((organization, number), 0)}"

    def _someone(self, organization: int) -> dict[str, str]:
        """Return the ids of an event, after whoever holds the device did something with it."""
        chance = self._chance
        number = chance.randrange(DEVICES)
        key = (organization, self._device(organization, number))
        step = chance.random()
        if step < 0.12:
            self._users[key] = _user(chance.randrange(USERS))
        elif step < 0.18:
            self._users[key] = None
            if chance.random() < 0.5:
                # An SDK's reset makes a new device id.
                known = self._generations.get((organization, number), 0)
                self._generations[organization, number] = known + 1
        elif step < 0.25:
            # A server, which knows users alone.
            return {"user_id": _user(chance.randrange(USERS))}
        device = self._device(organization, number)
        user = self._users.get((organization, device))
        return {"device_id": device} | ({} if user is None else {"user_id": user})

    def _upload(self, organization: int, api_key: str, now_millis: int) -> Request:
        chance = self._chance
        events = [
            self._event(organization, now_millis) for _ in range(chance.randint(1, EVENTS_MAX))
        ]
        if chance.random() < 0.2:
            events.append(chance.choice(events))
        path = chance.choice(("/2/httpapi", "/batch"))
        return _upload(path, api_key, events, zipped=chance.random() < 0.3)

    def _event(self, organization: int, now_millis: int) -> dict[str, Any]:
        chance = self._chance
        event: dict[str, Any] = self._someone(organization)
        event["event_type"] = chance.choice(("open", "buy", "open", "$identify", "$groupidentify"))
        late = chance.choice((0, 0, 0, 1, 3, 40)) * DAY_MILLIS
        event["time"] = now_millis - late - chance.randrange(5000)
        if chance.random() < 0.5:
            self._inserts += 1
            # Some insert ids come again with another event, also of another device.
            event["insert_id"] = f"insert-{self._inserts // 2}"
        if chance.random() < 0.6:
            event["user_properties"] = self._properties(event["event_type"])
        if chance.random() < 0.3 or event["event_type"] == "$groupidentify":
            event["groups"] = self._groups()
            event["group_properties"] = self._properties("$groupidentify")
        if chance.random() < 0.4:
            event["event_properties"] = self._plain()
        if chance.random() < 0.1:
            event["$skip_user_properties_sync"] = chance.random() < 0.8
        for names in (("platform", "os_name", "carrier"), ("country", "city", "dma")):
            if chance.random() < 0.2:
                event |= {name: chance.choice("ab") for name in chance.sample(names, 2)}
        for name, values in _SELDOM.items():
            if chance.random() < 0.08:
                event[name] = chance.choice(values)
        if chance.random() < 0.1:
            event |= {"price": chance.choice((-1.5, 2.0)), "quantity": chance.choice((1, 3))}
        return event

    def _plain(self) -> dict[str, Any]:
        chance = self._chance
        return {name: chance.choice(VALUES) for name in chance.sample("abcd", chance.randint(0, 3))}

    def _properties(self, event_type: str) -> dict[str, Any]:
        chance = self._chance
        if not event_type.startswith("$") or chance.random() < 0.1:
            return self._plain()
        if chance.random() < 0.06:
            return {"$clearAll": "-"}
        return {name: self._plain() for name in chance.sample(OPERATIONS, chance.randint(1, 4))}

    def _groups(self) -> dict[str, Any]:
        chance = self._chance
        many = ["a", "b", "c", "d", "e", "f"]
        values: tuple[Any, ...] = ("red", "blue", ["red", "blue"], 1, [], many)
        types = chance.sample(("team", "org", "city", "a", "b", "c"), chance.randint(1, 6))
        return {name: chance.choice(values) for name in types}

    def _identification(self, organization: int) -> list[dict[str, Any]]:
        chance = self._chance
        return [
            self._someone(organization) | {"user_properties": self._properties("$identify")}
            for _ in range(chance.randint(1, 3))
        ]

    def _group_identification(self) -> list[dict[str, Any]]:
        chance = self._chance
        return [
            {
                "group_type": chance.choice(("team", "org", "city")),
                "group_value": chance.choice(("red", "blue", "1", "x")),
                "group_properties": self._properties("$groupidentify"),
            }
            for _ in range(chance.randint(1, 3))
        ]

    def _form(self, path: str, api_key: str, what: list[dict[str, Any]]) -> Request:
        form = urlencode({"api_key": api_key, "identification": json.dumps(what)}).encode()
        if len(form) < 8000 and self._chance.random() < 0.2:
            return Request("GET", path, form)
        return Request("POST", path, b"", _FORM, form)

    def _mapping(self, api_key: str) -> Request:
        one, other = self._chance.sample(range(USERS), 2)
        what: dict[str, Any] = {"user_id": _user(one), "global_user_id": _user(other)}
        if self._chance.random() < 0.3:
            what = {"user_id": _user(one), "unmap": True}
        form = urlencode({"api_key": api_key, "mapping": json.dumps([what])}).encode()
        if self._chance.random() < 0.5:
            return Request("GET", "/usermap", form)
        return Request("POST", "/usermap", b"", _FORM, form)

    def _legacy(self, organization: int, api_key: str, now_millis: int) -> Request:
        given = [self._event(organization, now_millis) for _ in range(self._chance.randint(1, 3))]
        events = [
            event | {"timestamp": event.pop("time"), "uuid": event.pop("insert_id", None)}
            for event in given
        ]
        fields = {"client": api_key, "v": 2, "upload_time": now_millis, "e": json.dumps(events)}
        return Request("POST", "/", b"", _FORM, urlencode(fields).encode())


_SELDOM: dict[str, tuple[Any, ...]] = {
    "language": ("en-US", "de", "klingon"),
    "app_version": ("1.0", "2.0"),
    "version_name": ("3.0",),
    "paying": ("true", "False", "maybe"),
    "start_version": ("s1", "s2"),
    "ip": ("$remote", *ADDRESSES),
    "user_agent": (
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "no browser at all",
    ),
    "location_lat": (52.5,),
    "location_lng": (13.4,),
    "revenue": (9.99, -3),
    "productId": ("p1",),
    "idfa": ("idfa-1",),
    "session_id": (-1, 1_700_000_000_000),
    "event_id": (7,),
    "plan": ({"branch": "main", "version": "1"},),
    "partner_id": ("partner",),
    "library": ("history/1.0",),
}


def _user(number: int) -> str:
    return f"user-{number}"


def _upload(
    path: str, api_key: str, events: list[dict[str, Any]], *, zipped: bool = False
) -> Request:
    body = json.dumps({"api_key": api_key, "events": events}).encode()
    headers = {b"content-type": b"application/json"}
    if zipped:
        headers[b"content-encoding"] = b"gzip"
        body = gzip.compress(body, 1, mtime=0)
    return Request("POST", path, b"", headers, body)


def pause_micros(chance: random.Random, mean_seconds: float) -> int:
    """Return how long nothing is sent: mostly a moment, sometimes long."""
    return int(chance.expovariate(1 / mean_seconds) * MICROS) if chance.random() < 0.7 else 1000
