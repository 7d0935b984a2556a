from __future__ import annotations

from typing import Any

import pytest

from tailrace.process import devices
from tailrace.process.devices import DeviceCatalog, device_names
from tailrace.process.person import NO_DEVICE
from tailrace.state.processing import HourSettings

MAC, WINDOWS, LINUX = ("Mac", "Mac OS X"), ("Windows", "Windows"), ("Linux", "Linux")
IPHONE = ("Apple iPhone", "Apple iPhone")
COLUMNS = ("device_type", "device_family")


@pytest.mark.parametrize(
    ("os_name", "maker", "model", "names"),
    [
        ("ios", "Apple", "iPhone15,3", IPHONE),
        ("ios", "Apple", "iPhone", IPHONE),
        ("Mobile Safari", "Apple", "iPhone", IPHONE),
        ("ios", None, "iPhone15,3", IPHONE),
        ("ios", "Apple", "iPhone 5s", ("Apple iPhone 5s", "Apple iPhone")),
        ("ios", "Apple", "iPad Air", ("Apple iPad Air", "Apple iPad")),
        ("ipados", "Apple", "iPad13,8", ("Apple iPad", "Apple iPad")),
        ("ios", "Apple", "iPod9,1", ("Apple iPod", "Apple iPod")),
        ("watchos", "Apple", "Watch6,1", ("Apple Watch", "Apple Watch")),
        ("tvos", "Apple", "AppleTV11,1", ("Apple TV", "Apple TV")),
        ("ios", "Apple", "x86_64", (None, None)),
        ("Chrome", "Apple", "Mac", MAC),
        ("Chrome", None, "Mac OS X", MAC),
        ("macos", "Apple", "MacBookPro18,1", MAC),
        ("Mac OS X", None, None, MAC),
        ("Safari", "Apple", "iMac", MAC),
        ("Chrome", "Macro", "Macaroon 3", ("Macro Macaroon 3", None)),
        ("Edge", None, "Windows", WINDOWS),
        ("Windows", None, None, WINDOWS),
        ("Windows 10", "HP", "Spectre", WINDOWS),
        ("Firefox", None, "Linux", LINUX),
        ("Firefox", None, "Ubuntu", LINUX),
        ("Chrome", None, "Chrome OS", (None, None)),
        ("android", "OnePlus", "ONEPLUS A6003", (None, "OnePlus Phone")),
        ("android", "samsung", "SM-S911B", (None, "Samsung Phone")),
        ("android", "Google", "Pixel 8", ("Google Pixel 8", "Google Phone")),
        ("android", "OnePlus", "OnePlus 6", ("OnePlus 6", "OnePlus Phone")),
        ("android", "Samsung", "Galaxy Tab S9", ("Samsung Galaxy Tab S9", "Samsung Tablet")),
        ("Chrome Mobile", "Google", "Pixel 8", ("Google Pixel 8", "Google Phone")),
        ("Samsung Internet", "Samsung", "SM-S911B", (None, "Samsung Phone")),
        ("android", "Google", "sdk_gphone64_arm64", (None, "Google Phone")),
        ("Opera", "Sony", "PlayStation 4", ("Sony PlayStation 4", None)),
        ("android", None, "Pixel 8", (None, None)),
        ("android", "Google", None, (None, None)),
        (None, None, None, (None, None)),
    ],
)
def test_the_names_of_a_device(
    os_name: str | None, maker: str | None, model: str | None, names: tuple[Any, ...]
) -> None:
    by_brand = (None, os_name, None, maker, None, model, None)
    by_manufacturer = (None, os_name, None, None, maker, model, None)

    assert device_names(by_brand) == device_names(by_manufacturer) == names


def test_an_app_on_android_is_on_a_phone_whatever_it_calls_its_system() -> None:
    device = ("Android", None, None, "Google", None, "Pixel 8", None)
    assert device_names(device) == ("Google Pixel 8", "Google Phone")


def test_few_devices_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_DEVICES_MAX", 3)
    catalog = DeviceCatalog()
    for number in range(10):
        device = (None, "android", None, "Google", None, f"Pixel {number}", None)
        assert catalog.names(device)[0] == catalog.names(device)[0] == f"Google Pixel {number}"
        assert len(catalog._found) <= 3
    assert catalog.names(NO_DEVICE) == (None, None)


def test_a_line_names_the_device_that_it_shows(bench: Any) -> None:
    bench.settings = HourSettings(devices="1")
    phone = {"os_name": "ios", "device_manufacturer": "Apple", "device_model": "iPhone15,3"}
    one = {"device_id": "device-1", "event_type": "e"}
    bench.send({**one, **phone}, one, {**one, "os_name": "Windows"}, one)
    bench.send({**one, "$skip_user_properties_sync": True})
    bench.send({**one, "event_type": "$identify", **phone}, one)

    bench.run()

    named = [tuple(line[name] for name in COLUMNS) for line in bench.lines()]
    assert named == [IPHONE, IPHONE, WINDOWS, WINDOWS, (None, None), IPHONE]


def test_an_hour_that_an_earlier_release_began_names_no_device_and_reads_no_user_agent(
    bench: Any,
) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"
    bench.settings = HourSettings()
    one = {"device_id": "device-1", "event_type": "e"}
    bench.send({**one, "device_model": "Windows"}, {**one, "user_agent": agent})

    bench.run()

    for line in bench.lines():
        assert (line["device_type"], line["device_family"], line["os_name"]) == (None, None, None)
