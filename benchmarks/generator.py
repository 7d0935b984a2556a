"""Realistic events, the same in every run of one seed: what all measures send and process.

An event is about 754 bytes in a body of 100: 90 event types, 5 to 15 event properties, insert IDs
and device IDs as UUIDs, a user ID for two thirds of the users.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

USERS = range(50_000)
EVENT_TYPES = 90
_DEVICE_STEP = 0x9E3779B97F4A7C15F39CC0605CEDC835  # spreads user numbers over device IDs
_SESSION_MILLIS = 1_800_000
_KNOWN_OF_THREE = 2  # so many users of three have a user ID

_VERBS = (
    "Viewed",
    "Clicked",
    "Opened",
    "Added",
    "Removed",
    "Started",
    "Completed",
    "Shared",
    "Ran",
)
_THINGS = (
    "Product", "Checkout", "Search Result", "Report", "Playlist",
    "Message", "Profile", "Invoice", "Settings Page", "Campaign Banner",
)  # fmt: skip
_KEYS = (
    "source", "category", "position", "list_name", "price", "currency", "is_first_time",
    "experiment_variant", "load_time_ms", "page_path", "referrer_domain", "item_count",
    "search_term",
    "screen_name", "component", "plan_tier", "discount_percent", "share_channel", "has_coupon",
    "scroll_depth", "content_id", "tab", "error_code", "duration_seconds",
)  # fmt: skip
_WORDS = (
    "organic", "newsletter", "home_feed", "recommended", "spring_campaign", "kitchen and dining",
    "premium", "free_trial", "control", "variant_b", "/products/enamel-mug-350-ml",
    "top_navigation",
    "checkout_sidebar", "www.example.com", "search_overlay", "reading lamp with dimmer", "annual",
    "monthly", "email", "push_notification",
)  # fmt: skip
_PLACES = (
    ("Netherlands", "Utrecht", "Utrecht", "Dutch"),
    ("Germany", "Berlin", "Berlin", "German"),
    ("France", "Occitanie", "Toulouse", "French"),
    ("Japan", "Osaka", "Osaka", "Japanese"),
    ("United States", "California", "San Francisco", "English"),
    ("Brazil", "Sao Paulo", "Campinas", "Portuguese"),
)
_DEVICES = (
    ("iOS", "ios", "18.1.1", "Apple", "iPhone 15 Pro"),
    ("iOS", "ios", "17.6", "Apple", "iPad Air"),
    ("Android", "android", "15", "Samsung", "Galaxy S24"),
    ("Android", "android", "14", "Google", "Pixel 8"),
    ("Web", "Chrome", "131.0.0.0", "Apple", "Mac"),
)


_USER_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.{} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{}.0.0.0 Mobile Safari/537.36",
)
_VERSIONS = 100

# Six places, five devices, and versions that repeat after twelve users.
PROFILES = 60


class Generator:
    """A stream of events; each call goes on where the last one ended."""

    def __init__(
        self, seed: int, now_micros: int, profile: Callable[[int], dict[str, str]] | None = None
    ) -> None:
        """Say of each user's device what `profile` returns, by default `profile_of`."""
        self._profile_of = profile or profile_of
        self._chance = random.Random(seed)
        self._now_millis = now_micros // 1000
        self._types = [f"{thing} {verb}" for thing in _THINGS for verb in _VERBS]
        self._keys = [self._chance.sample(_KEYS, 5 + number % 11) for number in range(EVENT_TYPES)]
        self._encode = msgspec.json.Encoder().encode

    def events(self, count: int, users: range = USERS) -> list[bytes]:
        """Return `count` events as JSON, each by a user drawn from `users`."""
        return [self._encode(self.event(user)) for user in self._chance.choices(users, k=count)]

    def one_each(self, users: range) -> list[bytes]:
        """Return one event of each user, in the order given."""
        return [self._encode(self.event(user)) for user in users]

    def event(self, user: int) -> dict[str, Any]:
        """Return one event of a user as an object."""
        chance = self._chance
        kind = chance.randrange(EVENT_TYPES)
        event: dict[str, Any] = {
            "device_id": device_of(user),
            "session_id": self._now_millis - user % _SESSION_MILLIS,
            "time": self._now_millis - chance.randrange(60_000),
            **self._profile_of(user),
            "ip": f"203.0.113.{user % 250 + 1}",
            "library": "amplitude-ts/2.11.9",
            "insert_id": _uuid(chance.getrandbits(128)),
            "event_type": self._types[kind],
            "event_properties": {key: self._value(key) for key in self._keys[kind]},
        }
        user_id = user_of(user)
        if user_id is not None:
            event["user_id"] = user_id
        properties = properties_of(user)
        if properties:
            event["user_properties"] = properties
        return event

    def _value(self, key: str) -> str | int | float | bool:
        chance = self._chance
        if key.endswith(("ms", "seconds", "count", "position", "percent", "depth")):
            return chance.randrange(5_000)
        if key.startswith(("is_", "has_")):
            return chance.random() < 0.5
        if key == "price":
            return chance.randrange(100, 20_000) / 100
        return chance.choice(_WORDS)


def profile_of(user: int) -> dict[str, str]:
    """Return what every event of a user says of device and place; it repeats after `PROFILES`."""
    country, region, city, language = _PLACES[user % len(_PLACES)]
    platform, os_name, os_version, brand, model = _DEVICES[user % len(_DEVICES)]
    return {
        "platform": platform,
        "os_name": os_name,
        "os_version": os_version,
        "device_manufacturer": brand,
        "device_model": model,
        "app_version": f"5.{user % 4}.{user % 3}",
        "country": country,
        "region": region,
        "city": city,
        "language": language,
    }


def browser_of(user: int) -> dict[str, str]:
    """Return a profile as the Browser SDK sends it: the device is in the user agent alone."""
    profile = profile_of(user)
    agent = _USER_AGENTS[user % len(_USER_AGENTS)].format(user % _VERSIONS + 1)
    device = ("os_name", "os_version", "device_manufacturer", "device_model")
    kept = {name: value for name, value in profile.items() if name not in device}
    return {**kept, "platform": "Web", "user_agent": agent}


def properties_of(user: int) -> dict[str, str | int]:
    """Return the user properties that every event of a user carries."""
    return {} if user % 5 else {"plan": _WORDS[user % 20], "seats": user % 40}


def device_of(user: int) -> str:
    """Return the device ID of a user's one device."""
    return _uuid((user + 1) * _DEVICE_STEP)


def user_of(user: int) -> str | None:
    """Return the user ID, or None for one who never signs in."""
    return f"user-{user:08d}@example.com" if user % 3 < _KNOWN_OF_THREE else None


def body(api_key: str, events: list[bytes]) -> bytes:
    """Return the body of one upload request."""
    return b'{"api_key":"%s","events":[%s]}' % (api_key.encode(), b",".join(events))


def bodies(api_key: str, events: list[bytes], each: int) -> list[bytes]:
    """Return request bodies of `each` events; the last may hold fewer."""
    return [body(api_key, events[at : at + each]) for at in range(0, len(events), each)]


def _uuid(number: int) -> str:
    return str(uuid.UUID(int=number & (2**128 - 1), version=4))
