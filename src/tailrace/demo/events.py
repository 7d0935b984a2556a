"""What people do in a small shop, the same in every run: the demo's input."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec

_PEOPLE = 400
_SPREAD_MICROS = 45 * 60 * 1_000_000  # visits began within the last three quarters of an hour
_FUNNEL = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")
_GOES_ON = (0.55, 0.6, 0.75)  # how many of those at one step reach the next
_REPEATED_EVERY = 50  # every so many events one is sent a second time

_PRODUCTS = (
    ("mug-01", "Enamel mug", 12.5),
    ("lamp-04", "Reading lamp", 49.0),
    ("tea-11", "Green tea", 7.9),
    ("bag-02", "Canvas bag", 24.0),
    ("pen-07", "Fountain pen", 31.5),
)
_PLACES = (
    ("Netherlands", "Utrecht", "Utrecht", "Dutch"),
    ("Germany", "Berlin", "Berlin", "German"),
    ("France", "Occitanie", "Toulouse", "French"),
    ("Japan", "Osaka", "Osaka", "Japanese"),
)
_DEVICES = (
    ("Web", "Chrome", "131", "2.4.0"),
    ("iOS", "ios", "18.1", "5.0.2"),
    ("Android", "android", "15", "5.0.1"),
)


class ShopEvent(msgspec.Struct, frozen=True):
    """One thing that happened; `fields` are named as the HTTP API names them."""

    insert_id: str
    fields: dict[str, Any]


def shop_events(seed: int, now_micros: int) -> Iterator[ShopEvent]:
    """Yield events without end; about one in fifty is an earlier one, sent again.

    A person is anonymous until the checkout and known by a user ID from then on.
    """
    chance = random.Random(seed)  # noqa: S311 - it makes sample data
    number = 0
    recent: list[ShopEvent] = []
    while True:
        for fields in _visit(chance, now_micros):
            number += 1
            event = ShopEvent(f"shop-{seed}-{number:06d}", fields)
            yield event
            recent.append(event)
            if number % _REPEATED_EVERY == 0:
                yield chance.choice(recent)
                recent.clear()


def _visit(chance: random.Random, now_micros: int) -> Iterator[dict[str, Any]]:
    person = chance.randrange(_PEOPLE)
    country, region, city, language = _PLACES[person % len(_PLACES)]
    platform, os_name, os_version, version = _DEVICES[person % len(_DEVICES)]
    moment = (now_micros - chance.randrange(_SPREAD_MICROS)) // 1000
    common: dict[str, Any] = {
        "device_id": f"device-{person:05d}",
        "session_id": moment,
        "platform": platform,
        "os_name": os_name,
        "os_version": os_version,
        "app_version": version,
        "country": country,
        "region": region,
        "city": city,
        "language": language,
        "ip": f"203.0.113.{person % 250 + 1}",
    }
    yield _event(common, moment, "Session Started", {"referrer": chance.choice(("search", "mail"))})
    for event_type, more in _steps(chance, person):
        # Events of one visit lie some seconds apart, but never after the moment they are sent.
        moment = min(moment + chance.randrange(2_000, 90_000), now_micros // 1000)
        yield _event(common, moment, event_type, **more)


def _steps(chance: random.Random, person: int) -> Iterator[tuple[str, dict[str, Any]]]:
    product_id, name, price = chance.choice(_PRODUCTS)
    quantity = chance.randrange(1, 4)
    properties = {"product_id": product_id, "name": name, "price": price}
    for step, event_type in enumerate(_FUNNEL):
        if step > 0 and chance.random() > _GOES_ON[step - 1]:
            return
        more: dict[str, Any] = {"properties": properties}
        if event_type in ("Checkout Started", "Order Completed"):
            more["user_id"] = f"shopper-{person:05d}"
            more["user_properties"] = {"tier": ("gold", "silver")[person % 2], "newsletter": True}
            more["groups"] = {"store": f"store-{person % 7}"}
        if event_type == "Order Completed":
            more |= {"price": price, "quantity": quantity, "product_id": product_id}
            more["properties"] = properties | {
                "payment": chance.choice(("card", "invoice")),
                "quantity": quantity,
                "revenue": round(price * quantity, 2),
            }
        yield event_type, more


def _event(
    common: dict[str, Any],
    moment_millis: int,
    event_type: str,
    properties: dict[str, Any],
    **more: Any,
) -> dict[str, Any]:
    return {
        **common,
        "event_type": event_type,
        "time": moment_millis,
        "event_properties": properties,
        **more,
    }
