from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from powercut.mmdb import write_mmdb
from tailrace.errors import BadSetting, NeedsOperator
from tailrace.files import Files
from tailrace.process.places import NOWHERE, Place, Places
from tailrace.state.processing import HourSettings

CITY = {
    "country": {"iso_code": "US", "names": {"de": "USA", "en": "United States"}},
    "subdivisions": [{"names": {"en": "California"}}, {"names": {"en": "inner"}}],
    "city": {"names": {"en": "San Francisco"}},
    "location": {"latitude": 37.77, "metro_code": 807},
}
COUNTRY = {"country": {"names": {"en": "Netherlands"}}}
NETWORKS = {
    "203.0.113.0/24": CITY,
    "198.51.100.0/24": COUNTRY,
    "192.0.2.1/32": {"country": "odd", "city": {"names": []}, "subdivisions": [], "location": 3},
    "192.0.2.2/32": "odd",
}
SAN_FRANCISCO = Place("United States", "California", "San Francisco", "807")


def adopt(folder: Path, networks: dict[str, Any], name: str = "places.mmdb") -> Places:
    database = write_mmdb(folder / name, networks)
    return Places.adopt(str(database), folder / "places", Files())


def use(bench: Any, places: Places) -> None:
    """Give the bench's processor these places from now on."""
    bench.processor._batch._places = places
    bench.settings = HourSettings(places=places.current)


def shown(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("country", "region", "city", "dma"))


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.7", SAN_FRANCISCO),
        ("198.51.100.255", Place("Netherlands")),
        ("::ffff:203.0.113.7", SAN_FRANCISCO),
        ("::FFFF:cb00:7107", SAN_FRANCISCO),
        ("8.8.8.8", NOWHERE),
        ("192.0.2.1", NOWHERE),
        ("192.0.2.2", NOWHERE),
        ("2001:db8::1", NOWHERE),
        ("no address", NOWHERE),
        ("no:address", NOWHERE),
        ("203.0.113.7 ", NOWHERE),
        ("203.0.113.7\0", NOWHERE),
        ("\0", NOWHERE),
        ("3405803783", NOWHERE),
        ("203.0.28935", NOWHERE),
        ("", NOWHERE),
    ],
)
def test_the_place_of_an_address(tmp_path: Path, address: str, place: Place) -> None:
    places = adopt(tmp_path, NETWORKS)
    place_of = places.of(places.current)

    assert place_of is not None
    assert (place_of(address), place_of(address)) == (place, place)


def test_what_is_no_address_takes_no_memory(tmp_path: Path) -> None:
    places = adopt(tmp_path, NETWORKS)
    place_of = places.of(places.current)
    assert place_of is not None
    assert place_of("0000:0000:0000:0000:0000:FFFF:203.000.113.007") == NOWHERE
    assert place_of("0000:0000:0000:0000:0000:ffff:203.0.113.255") == SAN_FRANCISCO
    tracemalloc.start()
    try:
        for number in range(5_000):
            place_of(f"{number} {'x' * 1_000}")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 1_000_000


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ip": "203.0.113.7"}, ("United States", "California", "San Francisco", "807")),
        ({"ip": "$remote"}, ("United States", "California", "San Francisco", "807")),
        ({"ip": "198.51.100.1"}, ("Netherlands", None, None, None)),
        ({}, (None, None, None, None)),
        ({"ip": "203.0.113.7", "country": "Germany"}, ("Germany", None, None, None)),
        ({"ip": "203.0.113.7", "city": "Bonn"}, (None, None, "Bonn", None)),
        ({"ip": "203.0.113.7\0"}, (None, None, None, None)),
        (
            {"ip": "203.0.113.7", "city": ""},
            ("United States", "California", "San Francisco", "807"),
        ),
    ],
)
def test_lines_have_the_place_unless_the_event_says_one(
    bench: Any, tmp_path: Path, fields: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    use(bench, adopt(tmp_path, NETWORKS))
    bench.send({"device_id": "device-1", "event_type": "e", **fields})

    bench.run()

    assert shown(bench.lines()[0]) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ip": "$remote"}, ("United States", "California", "San Francisco", "807")),
        ({"ip": "198.51.100.1"}, ("Netherlands", None, None, None)),
        ({"ip": "$remote", "city": "Bonn"}, (None, None, "Bonn", None)),
        ({"ip": "8.8.8.8"}, ("Germany", None, "Berlin", None)),
        ({"ip": "$remote", "$skip_user_properties_sync": True}, ("Germany", None, "Berlin", None)),
    ],
)
def test_events_without_an_address_show_where_an_identify_came_from(
    bench: Any, tmp_path: Path, fields: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """As where a browser tells who it is, and a server sends the events."""
    use(bench, adopt(tmp_path, NETWORKS))
    one = {"device_id": "device-1", "event_type": "e"}
    bench.send({**one, "country": "Germany", "city": "Berlin"})
    bench.send({**one, "event_type": "$identify", **fields}, one)

    bench.run()

    assert shown(bench.lines()[-1]) == expected
    assert bench.lines()[-1]["ip_address"] is None


def test_a_replaced_file_counts_from_the_next_hour_also_after_a_crash(
    bench: Any, tmp_path: Path
) -> None:
    one = {"device_id": "device-1", "event_type": "e", "ip": "203.0.113.7"}
    use(bench, adopt(tmp_path, {"203.0.113.0/24": CITY}))
    bench.send(one)
    bench.processor.run_round()
    bench.crash()
    moved = adopt(tmp_path, {"203.0.113.0/24": COUNTRY})
    use(bench, moved)
    moved.remove_unused(bench.store.places_in_use)
    bench.send(one)
    bench.send(one, stamp=bench.hour.end_micros)

    bench.run()

    assert [line["country"] for line in bench.lines()] == ["United States"] * 2
    assert [line["country"] for line in bench.lines(hour=bench.hour.next())] == ["Netherlands"]
    moved.remove_unused(bench.store.places_in_use)
    assert [copy.stem for copy in (tmp_path / "places").iterdir()] == [moved.current]


def test_without_a_copy_an_hour_that_began_with_it_does_not_go_on(tmp_path: Path) -> None:
    places = adopt(tmp_path, NETWORKS)
    (copy,) = (tmp_path / "places").iterdir()
    copy.unlink()

    with pytest.raises(NeedsOperator, match=r"Cannot look up places in .*mmdb"):
        places.of(places.current)


def test_a_missing_copy_stops_the_processor_and_holds_no_event(bench: Any) -> None:
    bench.settings = HourSettings(places="gone")
    bench.send({"device_id": "device-1", "event_type": "e"})

    with pytest.raises(NeedsOperator, match="Cannot look up places in"):
        bench.run()


def test_the_same_file_is_copied_once_and_a_bad_one_is_named(tmp_path: Path) -> None:
    first = adopt(tmp_path, NETWORKS)
    (copy,) = (tmp_path / "places").iterdir()
    before = copy.stat()
    assert adopt(tmp_path, NETWORKS, "again.mmdb").current == first.current
    assert copy.stat().st_mtime_ns == before.st_mtime_ns
    (tmp_path / "bad.mmdb").write_bytes(b"no such format")

    for name in ("bad.mmdb", "absent.mmdb"):
        with pytest.raises(BadSetting, match=rf"places.database .*{name}"):
            Places.adopt(str(tmp_path / name), tmp_path / "places", Files())


@pytest.mark.parametrize("content", [b"half", b"x" * 4096])
def test_a_file_that_changes_while_it_is_read_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    database = write_mmdb(tmp_path / "places.mmdb", NETWORKS)
    whole = database.read_bytes()

    def read_while_another_writes(path: Path) -> bytes:
        path.write_bytes(content)
        with path.open("rb") as file:
            found = file.read()
        path.write_bytes(whole)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_while_another_writes)
        with pytest.raises(BadSetting, match="it changed while it was read"):
            Places.adopt(str(database), tmp_path / "places", Files())

    assert not (tmp_path / "places").exists()


def test_no_file_means_no_places(tmp_path: Path) -> None:
    places = Places.adopt("", tmp_path / "places", Files())

    assert (places.current, places.of(None)) == (None, None)
    assert not (tmp_path / "places").exists()


def test_settings_of_hours_before_there_were_places_are_read() -> None:
    assert msgspec.json.decode('{"schema_number":12}', type=HourSettings) == HourSettings()
