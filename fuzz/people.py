"""`People`: what lines say of people and groups, as one reads it in the documented rules.

Plain dictionaries of parsed JSON, for one organization, event after event; no code under test is
used but the table of languages. Events are in the canonical form that the collector stores.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from tailrace.process.languages import language_name

AMOUNT = ("revenue", "price", "quantity")
DEVICE = {
    "platform": "platform",
    "os_name": "os_name",
    "os_version": "os_version",
    "device_brand": "device_brand",
    "device_manufacturer": "device_manufacturer",
    "device_model": "device_model",
    "carrier": "device_carrier",
}
PLACE = {name: name for name in ("country", "region", "city", "dma")}
ORDER = (
    "$clearAll", "$unset", "$set", "$setOnce", "$add", "$append",
    "$prepend", "$preInsert", "$postInsert", "$remove",
)  # fmt: skip
OPERATIONS = frozenset((*ORDER, "$delete"))
TYPES_MAX, VALUES_MAX = 5, 10
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class People:
    """Identity, properties and groups of one organization."""

    def __init__(self) -> None:
        self.merges: list[tuple[int, int]] = []
        self._device: dict[str, int] = {}
        self._user: dict[str, int] = {}
        self._named: set[int] = set()
        self._last = 0
        self._persons: dict[tuple[int, int], dict[str, Any]] = {}
        self._groups: dict[tuple[int, str, str], dict[str, Any]] = {}

    def take(self, project: int, event: dict[str, Any]) -> dict[str, Any] | None:
        """Return what an event's line says, without times; None for an identify."""
        given = event.get("user_properties") or {}
        groups = lists(event.get("groups") or {})
        if event["event_type"] == "$groupidentify":
            for name, values in groups.items():
                # A group that is named twice is changed once.
                for value in dict.fromkeys(values):
                    key = (project, name, value)
                    self._groups[key] = operated(
                        self._groups.get(key, {}), event.get("group_properties") or {}
                    )
            return None
        number = self._id(event["device_id"], event.get("user_id"))
        person = self._persons.setdefault((project, number), new_person())
        skips = event.get("$skip_user_properties_sync") is True
        if event["event_type"] == "$identify":
            if not skips:
                settle(person, event)
                person["user_properties"] = operated(person["user_properties"], given)
                person["groups"] = limited(groups | without(person["groups"], groups))
                paying = event.get("paying")
                paying = {"true": True, "false": False}.get(str(paying).strip().lower())
                person["paying"] = person["paying"] if paying is None else paying
                person["start_version"] = event.get("start_version") or person["start_version"]
            return None
        given = {key: value for key, value in given.items() if key not in OPERATIONS}
        first, person["seen"] = not person["seen"], True
        shown = new_person() if skips else person
        settle(shown, event)
        shown["user_properties"] = {**shown["user_properties"], **given}
        if skips:
            shown["start_version"] = None
        elif pays(event):
            person["paying"] = True
        groups = limited(groups | without(shown["groups"], groups))
        snapshot: dict[str, Any] = {}
        for name, values in groups.items():
            for value in values:
                properties = self._groups.get((project, name, value))
                if properties:
                    snapshot.setdefault(name, {})[value] = properties
        line = {name: value for name, value in shown.items() if name != "seen"}
        return {
            **line,
            "amplitude_id": number,
            "groups": groups,
            "group_properties": snapshot,
            "first_event": first,
            "user_properties_updated": bool(given) and not skips,
        }

    def _id(self, device: str, user: str | None) -> int:
        now = self._device.get(device)
        if user is None:
            number = self._new() if now is None else now
        elif user in self._user:
            number = self._user[user]
            if now is not None and now not in self._named:
                self._merge(now, number)
        else:
            number = now if now is not None and now not in self._named else self._new()
            self._user[user] = number
            self._named.add(number)
        self._device[device] = number
        return number

    def _new(self) -> int:
        self._last += 1
        return self._last

    def _merge(self, loser: int, survivor: int) -> None:
        self.merges.append((loser, survivor))
        for project in {project for project, number in self._persons if number == loser}:
            lost = self._persons[project, loser]
            kept = self._persons.setdefault((project, survivor), new_person())
            kept["seen"] = kept["seen"] or lost["seen"]
            kept["user_properties"] = {**kept["user_properties"], **lost["user_properties"]}
            kept["groups"] = limited(lost["groups"] | without(kept["groups"], lost["groups"]))
            for name in ("start_version", "paying", "language", "version_name"):
                kept[name] = lost[name] if kept[name] is None else kept[name]
            for one in (DEVICE, PLACE):
                if all(kept[name] is None for name in one.values()):
                    kept.update({name: lost[name] for name in one.values()})


def new_person() -> dict[str, Any]:
    """Return a person of whom nothing is known."""
    names = [*DEVICE.values(), *PLACE.values()]
    names += ["language", "version_name", "start_version", "paying"]
    return {**dict.fromkeys(names), "user_properties": {}, "groups": {}, "seen": False}


def settle(person: dict[str, Any], event: dict[str, Any]) -> None:
    """Set the default properties that an event sends; one of a set resets the rest of it."""
    for one in (DEVICE, PLACE):
        if any(event.get(name) is not None for name in one):
            person.update({shown: event.get(name) for name, shown in one.items()})
    person["language"] = language_name(event.get("language") or "") or person["language"]
    version = event.get("app_version") or event.get("version_name")
    person["version_name"] = version or person["version_name"]
    person["start_version"] = person["start_version"] or version


def pays(event: dict[str, Any]) -> bool:
    """Say whether an event brings revenue of more than nothing."""
    revenue, price, quantity = (double(event.get(name)) for name in AMOUNT)
    if revenue is None and price is None:
        given = event.get("event_properties") or {}
        revenue, price, quantity = (double(given.get("$" + name)) for name in AMOUNT)
        if revenue is not None:
            return revenue > 0
    if price is not None and (quantity is not None or revenue is None):
        product = price * (1 if quantity is None else quantity)
        if math.isfinite(product):
            return product > 0
    return revenue is not None and revenue > 0


def double(value: Any) -> float | None:
    """Return a number as a double; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def lists(groups: dict[str, Any]) -> dict[str, list[str]]:
    """Return groups as lists of texts, cut to what is tracked."""
    found = {}
    for name, value in groups.items():
        values = value if isinstance(value, list) else [value]
        found[name] = [text for text in map(group_text, values) if text]
    return limited(found)


def group_text(value: Any) -> str:
    """Return a group's value as text, as identifiers are."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def limited(groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the first five types and ten values."""
    kept: dict[str, list[str]] = {}
    for name, values in groups.items():
        left = VALUES_MAX - sum(map(len, kept.values()))
        if values and left and len(kept) < TYPES_MAX:
            kept[name] = values[:left]
    return kept


def without(groups: dict[str, list[str]], others: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the groups of types that the others do not have."""
    return {name: values for name, values in groups.items() if name not in others}


def operated(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return properties after an identify."""
    now = dict(before)
    for name in ORDER:
        if name == "$clearAll" and name in given:
            now = {}
        operands = given.get(name)
        if isinstance(operands, dict) and name != "$clearAll":
            for key, operand in operands.items():
                operate(now, name, key, operand)
    now.update({key: value for key, value in given.items() if key not in OPERATIONS})
    return now


def operate(now: dict[str, Any], name: str, key: str, operand: Any) -> None:
    """Apply one operation to one property."""
    there = now.get(key)
    if name == "$unset":
        now.pop(key, None)
    elif name == "$set" or (name == "$setOnce" and there is None):
        now[key] = operand
    elif name == "$add":
        start, more = (0 if there is None else number(there)), number(operand)
        if start is not None and more is not None and abs(start + more) < 1e308:
            now[key] = start + more
    elif name == "$remove" and isinstance(there, list):
        unwanted = operand if isinstance(operand, list) else [operand]
        now[key] = [one for one in there if not any(like(one, other) for other in unwanted)]
    elif name in ("$append", "$prepend", "$preInsert", "$postInsert"):
        old = [] if there is None else there if isinstance(there, list) else [there]
        new = operand if isinstance(operand, list) else [operand]
        if name.endswith("Insert"):
            fresh: list[Any] = []
            for one in new:
                if not any(like(one, other) for other in [*old, *fresh]):
                    fresh.append(one)
            new = fresh
        now[key] = new + old if name in ("$prepend", "$preInsert") else old + new


def number(value: Any) -> int | float | None:
    """Return a number, also one in a text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        found = json.loads(re.sub(r"^(-?)0+(?=\d)", r"\1", value.strip()))
        return found if abs(found) < 1e308 else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def like(one: Any, other: Any) -> bool:
    """Say whether two JSON values are equal; 1 is 1.0, and no number is true or false."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(like(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(like, one, other))
    return bool(one == other)
