from __future__ import annotations

import itertools
from collections import Counter

from tailrace.demo.events import ShopEvent, shop_events

NOW = 1_767_362_375_000_000


def _some(count: int, seed: int = 1) -> list[ShopEvent]:
    return list(itertools.islice(shop_events(seed, NOW), count))


def test_every_run_has_the_same_events() -> None:
    assert _some(500) == _some(500)
    assert _some(500) != _some(500, seed=2)


def test_one_in_fifty_or_so_is_sent_twice_and_alike() -> None:
    events = _some(5000)

    by_id: dict[str, list[ShopEvent]] = {}
    for event in events:
        by_id.setdefault(event.insert_id, []).append(event)
    repeated = [same for same in by_id.values() if len(same) > 1]
    assert 80 <= len(repeated) <= 100
    assert all(same[0] == other for same in repeated for other in same)


def test_nothing_happens_after_now_or_before_the_hour_began_to_count() -> None:
    times = [event.fields["time"] for event in _some(5000)]

    assert max(times) <= NOW // 1000
    assert min(times) > NOW // 1000 - 3_600_000


def test_the_funnel_narrows_and_its_end_has_a_known_buyer_with_revenue() -> None:
    events = _some(5000)

    counts = Counter(event.fields["event_type"] for event in events)
    order = [name for name, _ in counts.most_common()]
    assert order == [
        "Session Started",
        "Product Viewed",
        "Product Added",
        "Checkout Started",
        "Order Completed",
    ] or order[2:] == ["Product Added", "Checkout Started", "Order Completed"]
    orders = [event.fields for event in events if event.fields["event_type"] == "Order Completed"]
    assert len(orders) > 100
    assert all(one["user_id"] and one["price"] > 0 and one["quantity"] >= 1 for one in orders)


def test_several_people_come_back_on_their_own_device() -> None:
    devices = Counter(event.fields["device_id"] for event in _some(5000))

    assert 300 < len(devices) <= 400
    assert all(len(device) >= 5 for device in devices)
