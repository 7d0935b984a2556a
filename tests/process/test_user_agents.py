from __future__ import annotations

from typing import Any

import pytest

from tailrace.process import user_agents
from tailrace.process.user_agents import UserAgents, rules_version
from tailrace.state.processing import HourSettings

CHROME_ON_MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/137.0.0.0 Safari/537.36"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91"
)
FIREFOX_ON_LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.2 Mobile/15E148 Safari/604.1"
)
PHONE = (
    "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/119.0.0.0 Mobile Safari/537.36"
)
# What Chrome says of every phone nowadays.
ANY_PHONE = PHONE.replace("Android 13; SM-S911B", "Android 10; K")
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
ONE = {"device_id": "device-1", "event_type": "e"}
BOTS_DROPPED = HourSettings(devices=rules_version(), drop_bots=True)

COLUMNS = (
    "platform", "os_name", "os_version", "device_brand", "device_manufacturer", "device_model",
    "device_carrier", "device_type", "device_family",
)  # fmt: skip


@pytest.fixture
def bench(bench: Any) -> Any:
    bench.settings = HourSettings(devices=rules_version())
    return bench


def shown(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in COLUMNS)


def samsung(os_name: str | None, version: str | None) -> tuple[Any, ...]:
    return (
        None, os_name, version, "Samsung", "Samsung", "SM-S911B", None, None, "Samsung Phone",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"user_agent": CHROME_ON_MAC, "platform": "Web"},
            ("Web", "Chrome", "137", "Apple", "Apple", "Mac", None, "Mac", "Mac OS X"),
        ),
        (
            {"user_agent": EDGE},
            (None, "Edge", "120", None, None, "Windows", None, "Windows", "Windows"),
        ),
        (
            {"user_agent": FIREFOX_ON_LINUX},
            (None, "Firefox", "121", None, None, "Linux", None, "Linux", "Linux"),
        ),
        (
            {"user_agent": IPHONE},
            (None, "Mobile Safari", "17", "Apple", "Apple", "iPhone", None, *["Apple iPhone"] * 2),
        ),
        ({"user_agent": PHONE}, samsung("Chrome Mobile", "119")),
        (
            {"user_agent": ANY_PHONE},
            (None, "Chrome Mobile", "119", None, None, "Android", None, None, None),
        ),
        ({"user_agent": PHONE, "os_name": "android"}, samsung("android", None)),
        (
            {"user_agent": PHONE, "os_version": "13", "platform": "Android"},
            ("Android", *samsung(None, "13")[1:]),
        ),
        (
            {"user_agent": PHONE, "device_model": "Galaxy S23", "carrier": "A1"},
            (None, "Chrome Mobile", "119", None, None, "Galaxy S23", "A1", None, None),
        ),
        (
            {"user_agent": PHONE, "device_brand": "Asus"},
            (None, "Chrome Mobile", "119", "Asus", None, None, None, None, None),
        ),
        (
            {"user_agent": PHONE, "device_manufacturer": "Asus"},
            (None, "Chrome Mobile", "119", None, "Asus", None, None, None, None),
        ),
        ({"user_agent": "x" * 900}, (None,) * 9),
        ({"user_agent": ""}, (None,) * 9),
        ({}, (None,) * 9),
    ],
)
def test_what_an_event_does_not_say_is_read_from_its_user_agent(
    bench: Any, fields: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    bench.send({**ONE, **fields})

    bench.run()

    (line,) = bench.lines()
    assert shown(line) == expected
    assert "user_agent" not in line


def test_a_device_of_a_user_agent_is_remembered_and_replaced_as_one_that_was_sent(
    bench: Any,
) -> None:
    bench.send({**ONE, "user_agent": IPHONE})
    bench.crash()
    bench.send(ONE, {**ONE, "event_type": "$identify", "user_agent": PHONE}, ONE)
    bench.run()
    bench.crash()
    bench.send(ONE, {**ONE, "platform": "iOS"})
    bench.run()

    first, second, third, fourth, last = map(shown, bench.lines())
    assert first == second
    assert third == fourth == samsung("Chrome Mobile", "119")
    assert last == ("iOS",) + (None,) * 8


def test_bots_are_exported_unless_the_project_does_not_want_them(bench: Any) -> None:
    bench.send({**ONE, "user_agent": BOT})

    bench.run()

    assert bench.counts()["filtered"] == 0
    (line,) = bench.lines()
    assert (line["os_name"], line["device_brand"], line["device_family"]) == (
        "Googlebot",
        None,
        None,
    )


def test_dropped_bots_are_counted_as_filtered_and_change_nothing(bench: Any) -> None:
    bench.settings = BOTS_DROPPED
    bot = {"user_agent": BOT, "device_id": "bot-1", "user_id": "user-1"}
    bench.send(
        {**bot, "event_type": "e", "insert_id": "a", "user_properties": {"plan": "gold"}},
        {**bot, "event_type": "$identify", "user_properties": {"$set": {"plan": "gold"}}},
        {**bot, "event_type": "e", "insert_id": "a"},
        {"event_type": "e", "user_id": "user-1", "user_agent": IPHONE},
    )

    bench.run()

    counts = bench.counts()
    assert counts == {
        "accepted": 4,
        "exported": 1,
        "duplicates": 1,
        "identifies": 0,
        "filtered": 2,
        "held": 0,
    }
    (line,) = bench.lines()
    assert (line["user_properties"], line["data"]["first_event"]) == ({}, True)
    assert [row[0] for row in bench.rows("SELECT count(*) FROM device")] == [1]


def test_a_crash_does_not_change_what_is_filtered(bench: Any) -> None:
    bench.settings = BOTS_DROPPED
    bench.send({**ONE, "user_agent": BOT})
    bench.processor.run_round()
    # Taken back for the next hour.
    bench.settings = HourSettings(devices=rules_version())
    bench.crash()
    bench.send({**ONE, "user_agent": BOT})

    bench.run()

    assert (bench.counts()["accepted"], bench.counts()["filtered"]) == (2, 2)
    assert bench.lines() == []


def test_few_user_agents_are_kept_and_each_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_agents, "_AGENTS_MAX", 3)
    agents = UserAgents()
    for number in range(10):
        text = CHROME_ON_MAC.replace("137", str(number))
        assert agents.of(text) is agents.of(text)
        assert agents.of(text).os_version == str(number)
        assert len(agents._found) <= 3


def test_without_user_agents_the_rules_are_not_loaded(bench: Any) -> None:
    bench.send(ONE)
    bench.run()
    assert bench.processor._batch._agents._read is None
