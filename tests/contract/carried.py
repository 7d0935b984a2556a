"""The person whom every SDK tells of, and what that person's lines must carry.

She visits on her phone, signs in there, is identified, joins a group, and buys on her tablet. The
lines are found by `event_properties.n`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from powercut.mmdb import write_mmdb
from tailrace.settings import PlacesSettings

USER = "shopper-18"
PHONE_ID, TABLET_ID = "phone-of-18", "tablet-of-18"
# The steps, by their numbers; those in between are no lines.
VISITED, SIGNED_IN, IDENTIFIED, JOINED, GROUP_GREW, VIEWED, BOUGHT, LEFT = range(8)

PHONE: dict[str, Any] = {
    "platform": "iOS",
    "os_name": "ios",
    "os_version": "17.2",
    "device_brand": "Apple",
    "device_manufacturer": "Apple",
    "device_model": "iPhone15,3",
    "carrier": "A1 BG",
    "language": "de-AT",
    "app_version": "2.13.1",
    "ip": "$remote",
    "session_id": 1396381378123,
    "location_lat": 48.25,
    "location_lng": 16.5,
}
TABLET: dict[str, Any] = {
    "platform": "Android",
    "os_name": "android",
    "os_version": "14",
    "device_brand": "Samsung",
    "device_manufacturer": "Samsung",
    "device_model": "Galaxy Tab S9",
    "language": "da",
    "app_version": "3.0.0",
    "country": "Denmark",
    "city": "Aarhus",
}
OPERATIONS: list[tuple[str, str, Any]] = [
    ("set", "plan", "gold"),
    ("add", "visits", 1),
    ("setOnce", "initial_source", "letter"),
]
PROPERTIES = {"plan": "gold", "visits": 1, "initial_source": "letter"}
GROUP = ("company", "Acme")
GROUP_OPERATIONS = [["set", "size", 5]]
PRODUCT, PRICE, QUANTITY = "shoe-42", 10.5, 2

# Where every client of a test is.
PLACE = {"country": "Netherlands", "region": "Utrecht (province)", "city": "Utrecht", "dma": "807"}
_RECORD = {
    "country": {"names": {"en": PLACE["country"]}},
    "subdivisions": [{"names": {"en": PLACE["region"]}}],
    "city": {"names": {"en": PLACE["city"]}},
    "location": {"metro_code": 807},
}
_NO_PLACE = dict.fromkeys(PLACE)
_COLUMNS = {
    "platform": "platform",
    "os_name": "os_name",
    "os_version": "os_version",
    "device_brand": "device_brand",
    "device_manufacturer": "device_manufacturer",
    "device_model": "device_model",
    "device_carrier": "carrier",
    "version_name": "app_version",
}

Line = Mapping[str, Any]


def places(folder: Path) -> PlacesSettings:
    """Return settings with a file of places in which this machine has one."""
    file = write_mmdb(folder / "places.mmdb", {"127.0.0.0/8": _RECORD})
    return PlacesSettings(database=str(file))


def check_person(lines: Sequence[Line], library: str) -> None:
    """Assert all that the lines of her five events carry; identifies are none."""
    by_number = {line["event_properties"]["n"]: line for line in lines}
    assert sorted(by_number) == [VISITED, SIGNED_IN, VIEWED, BOUGHT, LEFT]
    assert len({line["amplitude_id"] for line in lines}) == 1
    assert len({line["user_creation_time"] for line in lines}) == 1
    visited = by_number[VISITED]
    assert visited["user_creation_time"] == visited["event_time"]
    for number, line in by_number.items():
        assert line["library"].startswith(library + "/")
        assert line["user_id"] == (None if number == VISITED else USER)
        assert line["device_id"] == (PHONE_ID if number <= SIGNED_IN else TABLET_ID)
        assert line["start_version"] == "2.13.1"
        assert line["data"].get("first_event") is (True if number == VISITED else None)
        check_knowledge(line, known=number > GROUP_GREW)
        if number <= SIGNED_IN:
            _check_first_device(line)
        else:
            _check_second_device(line)
    assert [by_number[n]["paying"] for n in (VIEWED, BOUGHT, LEFT)] == [None, True, True]
    check_revenue(by_number[BOUGHT])


def check_knowledge(line: Line, *, known: bool, also: Mapping[str, Any] | None = None) -> None:
    """Assert the properties and groups in a line, `also` those that an SDK sets by itself."""
    kind, name = GROUP
    # SDKs set a group as a property, too.
    properties = {**PROPERTIES, kind: _mirrored(line)} if known else {}
    assert line["user_properties"] == {**(also or {}), **properties}
    assert line["groups"] == ({kind: [name]} if known else {})
    assert line["group_properties"] == ({kind: {name: {"size": 5}}} if known else {})


def check_nothing_else_known(line: Line, *, also: Mapping[str, Any]) -> None:
    """Assert the same where what is told comes in any order: each of it is in the line, or not."""
    kind, name = GROUP
    told = {**also, **PROPERTIES, kind: _mirrored(line)}
    assert line["user_properties"].items() <= told.items()
    assert line["groups"] in ({}, {kind: [name]})
    assert line["group_properties"] in ({}, {kind: {name: {"size": 5}}})


def check_revenue(line: Line) -> None:
    """Assert the event properties of what was bought; not all SDKs send the product of both."""
    sold = line["event_properties"]
    assert (sold["$productId"], sold["$price"], sold["$quantity"]) == (PRODUCT, PRICE, QUANTITY)
    assert sold.get("$revenue", PRICE * QUANTITY) == PRICE * QUANTITY


def check_place(line: Line, expected: Mapping[str, Any]) -> None:
    """Assert where a line says that somebody was."""
    assert {name: line[name] for name in PLACE} == {**_NO_PLACE, **expected}


def _mirrored(line: Line) -> Any:
    shown = line["user_properties"].get(GROUP[0])
    # By the old Node SDK as a list.
    return shown if shown == [GROUP[1]] else GROUP[1]


def _check_first_device(line: Line) -> None:
    _check_device(line, PHONE)
    assert (line["device_type"], line["device_family"]) == ("Apple iPhone", "Apple iPhone")
    assert line["language"] == "German"
    assert line["ip_address"] == "127.0.0.1"
    check_place(line, PLACE)
    assert line["session_id"] == PHONE["session_id"]
    assert (line["location_lat"], line["location_lng"]) == (48.25, 16.5)


def _check_second_device(line: Line) -> None:
    # What bought and left sends no device, and shows the last one; a place stays as well.
    _check_device(line, TABLET)
    assert (line["device_type"], line["device_family"]) == (
        "Samsung Galaxy Tab S9",
        "Samsung Tablet",
    )
    assert line["language"] == "Danish"
    assert line["ip_address"] is None
    check_place(line, {"country": "Denmark", "city": "Aarhus"})
    assert line["session_id"] == -1
    assert (line["location_lat"], line["location_lng"]) == (None, None)


def _check_device(line: Line, sent: Mapping[str, Any]) -> None:
    assert {name: line[name] for name in _COLUMNS} == {
        name: sent.get(key) for name, key in _COLUMNS.items()
    }
