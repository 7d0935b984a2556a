"""The form that old libraries post to `/` becomes an upload like any other."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tailrace.collect.rates import Rate, Rates

UPLOADED = 1_700_000_000_456
# As the old JavaScript library builds it, key by key.
EVENT: dict[str, Any] = {
    "device_id": "dEvIcE_0123456789abcd",
    "user_id": None,
    "timestamp": 1_700_000_000_123,
    "event_id": 7,
    "session_id": 1_700_000_000_000,
    "event_type": "Viewed – é",
    "version_name": None,
    "platform": "Web",
    "os_name": "Chrome",
    "os_version": "120",
    "device_model": "Mac OS",
    "device_manufacturer": "Apple",
    "language": "en-GB",
    "api_properties": {},
    "event_properties": {"a": [1, "+&=%"], "b": None},
    "user_properties": {},
    "uuid": "5e0d2bfc-2fbd-4a3c-9a3f-1f3c9c2f1b11",
    "library": {"name": "amplitude-js", "version": "8.21.10"},
    "sequence_number": 12,
    "groups": {},
    "group_properties": {},
    "user_agent": "Mozilla/5.0",
    "partner_id": None,
    "plan": {"branch": "main"},
    "ingestion_metadata": {"source_name": "s"},
}
HEADERS = {
    "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Origin": "https://shop.example",
}


def form_of(api_key: str, events: Any, **changed: str) -> dict[str, str]:
    text = events if isinstance(events, str) else json.dumps(events, ensure_ascii=False)
    fields = {"client": api_key, "e": text, "v": "2", "upload_time": str(UPLOADED)}
    summed = "2" + api_key + text + str(UPLOADED)
    fields["checksum"] = hashlib.md5(summed.encode()).hexdigest()
    return {**fields, **changed}


def post(served: Any, fields: dict[str, str]) -> Any:
    # The library encodes a blank as %20, a form of the browser as a plus.
    return served.post(urlencode(fields, quote_via=quote).encode(), "/", HEADERS)


def test_an_event_of_the_old_library_is_stored_under_the_newer_keys(
    server: Any, api_key: str
) -> None:
    reply = post(server, form_of(api_key, [EVENT, {**EVENT, "event_type": "$identify"}]))

    assert (reply.status, reply.body) == (200, b"success")
    assert reply.headers["access-control-allow-origin"] == "*"
    record = server.records[-1]
    assert (record.endpoint, record.events) == ("/", 2)
    assert record.client_upload_micros == UPLOADED * 1000
    first, second = json.loads(record.body)["events"]
    assert first == {
        "device_id": "dEvIcE_0123456789abcd",
        "time": 1_700_000_000_123,
        "event_id": 7,
        "session_id": 1_700_000_000_000,
        "event_type": "Viewed – é",
        "platform": "Web",
        "os_name": "Chrome",
        "os_version": "120",
        "device_model": "Mac OS",
        "device_manufacturer": "Apple",
        "language": "en-GB",
        "event_properties": {"a": [1, "+&=%"], "b": None},
        "user_properties": {},
        "insert_id": "5e0d2bfc-2fbd-4a3c-9a3f-1f3c9c2f1b11",
        "library": "amplitude-js/8.21.10",
        "groups": {},
        "group_properties": {},
        "user_agent": "Mozilla/5.0",
        "plan": {"branch": "main"},
        "ingestion_metadata": {"source_name": "s"},
        "ip": "$remote",
    }
    assert second == {**first, "event_type": "$identify"}


def test_a_beacon_sends_the_same(server: Any, api_key: str) -> None:
    body = urlencode(form_of(api_key, [EVENT])).encode()
    assert server.post(body, "/", HEADERS).body == b"success"


@pytest.mark.parametrize("off", ["ip_address", "country", "region", "city", "dma"])
def test_an_address_is_not_taken_where_the_sender_switched_off_what_it_tells(
    server: Any, api_key: str, off: str
) -> None:
    event = {**EVENT, "api_properties": {"tracking_options": {off: False}}}
    assert post(server, form_of(api_key, [event])).status == 200
    assert "ip" not in json.loads(server.records[-1].body)["events"][0]


def test_what_mobile_libraries_put_into_api_properties_is_kept(server: Any, api_key: str) -> None:
    api_properties = {
        "price": 2.5,
        "quantity": 2,
        "productId": "p",
        "special": "revenue_amount",
        "androidADID": "a-1",
        "location": {"lat": 1.5, "lng": 2.5},
        "limit_ad_tracking": False,
    }
    event = {**EVENT, "api_properties": api_properties, "library": "old/1"}
    assert post(server, form_of(api_key, [event])).status == 200
    stored = json.loads(server.records[-1].body)["events"][0]
    assert (stored["price"], stored["quantity"], stored["productId"]) == (2.5, 2, "p")
    assert (stored["location_lat"], stored["location_lng"], stored["adid"]) == (1.5, 2.5, "a-1")
    assert stored["library"] == "old/1"


def test_ids_may_be_short_because_the_library_can_not_say_so(server: Any, api_key: str) -> None:
    assert post(server, form_of(api_key, [{**EVENT, "user_id": "7"}])).status == 200


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({"price": "9.99", "quantity": "3", "productId": 7}, {"price": 9.99, "quantity": 3}),
        ({"price": 9.99, "productId": 7.5}, {"price": 9.99, "productId": "7.5"}),
        ({"price": 2, "quantity": 3.0}, {"price": 2, "quantity": 3}),
        ({"price": 0.1, "quantity": 2.5}, {"revenue": 0.25, "price": None, "quantity": None}),
        ({"price": "0.1", "quantity": "2.5"}, {"revenue": 0.25, "price": None}),
        ({"productId": 10**25}, {"productId": "1" + "0" * 25}),
        ({"price": 1e308, "quantity": 20.5}, {"revenue": None}),
        ({"quantity": 2.5}, {"revenue": None, "quantity": None}),
    ],
)
def test_amounts_are_whatever_the_library_takes_for_numbers(
    server: Any, api_key: str, sent: dict[str, Any], stored: dict[str, Any]
) -> None:
    assert post(server, form_of(api_key, [{**EVENT, "api_properties": sent}])).status == 200
    event = json.loads(server.records[-1].body)["events"][0]
    assert {name: event.get(name) for name in stored} == stored
    fields = {f"${name}": float(value) for name, value in sent.items() if name != "productId"}
    pieces = {} if fields.get("$quantity", 1.0).is_integer() else fields
    assert event["event_properties"] == {**EVENT["event_properties"], **pieces}


@pytest.mark.parametrize("user_id", ["undefined", " NULL ", "0", 0, "anonymous"])
def test_a_placeholder_beside_a_device_is_no_user(server: Any, api_key: str, user_id: Any) -> None:
    """The library would send it, and all that comes after it, again and again."""
    assert post(server, form_of(api_key, [{**EVENT, "user_id": user_id}])).status == 200
    assert "user_id" not in json.loads(server.records[-1].body)["events"][0]

    alone = {"event_type": "e", "user_id": user_id}
    assert b"user_id of event 0 must name somebody" in post(server, form_of(api_key, [alone])).body


def test_numbers_are_texts_where_texts_belong(server: Any, api_key: str) -> None:
    event = {**EVENT, "version_name": 2.5, "plan": {"version": 3, "other": [1]}, "partner_id": 7}
    assert post(server, form_of(api_key, [event])).status == 200
    stored = json.loads(server.records[-1].body)["events"][0]
    assert (stored["version_name"], stored["plan"], stored["partner_id"]) == (
        "2.5",
        {"version": "3"},
        "7",
    )
    pieces = {"event_properties": [1], "api_properties": {"quantity": 2.5}}
    for odd in (pieces, {"plan": 3}, {"plan": {"version": [3]}}, {"version_name": True}):
        assert post(server, form_of(api_key, [{**EVENT, **odd}])).status == 400


def test_parts_of_a_millisecond_are_cut_off(server: Any, api_key: str) -> None:
    moment = 1_700_000_000_123.75
    event = {**EVENT, "timestamp": moment, "session_id": moment}
    assert post(server, form_of(api_key, [event])).status == 200
    stored = json.loads(server.records[-1].body)["events"][0]
    assert stored["time"] == stored["session_id"] == 1_700_000_000_123


REFUSED: list[tuple[str, Any, dict[str, str], bytes]] = [
    ("unknown key", [EVENT], {"client": "another"}, b"invalid_api_key"),
    ("no key", [EVENT], {"client": ""}, b"invalid_api_key"),
    ("wrong sum", [EVENT], {"checksum": "0" * 32}, b"bad_checksum"),
    ("other time than summed", [EVENT], {"upload_time": "1"}, b"bad_checksum"),
    ("no events", "", {}, b"missing_event"),
    ("an empty list", [], {}, b"missing_event: e must be a JSON object or a list of objects."),
    ("no json", "[", {}, b"missing_event: e is not valid JSON in UTF-8."),
    (
        "a bad time",
        [EVENT, {**EVENT, "timestamp": "today"}],
        {},
        b"invalid_event_field: time of event 1 must be a whole number of milliseconds since 1970.",
    ),
    (
        "a bad price",
        [{**EVENT, "api_properties": {"price": "free", "quantity": "nan"}}],
        {},
        b"invalid_event_field: price of event 0 must be a number; "
        b"quantity of event 0 must be a whole number.",
    ),
    ("no type", [{"device_id": "d"}], {}, b"invalid_event_field: event 0 has no event_type."),
]


@pytest.mark.parametrize(
    ("events", "changed", "body"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_refused_form_says_why_and_leaves_nothing(
    server: Any, api_key: str, events: Any, changed: dict[str, str], body: bytes
) -> None:
    before = len(server.records)
    reply = post(server, form_of(api_key, events, **changed))
    assert (reply.status, reply.body) == (400, body)
    assert len(server.records) == before


def test_a_sum_is_not_asked_for_and_an_odd_time_counts_as_none(server: Any, api_key: str) -> None:
    for odd in ("", "soon", "-1", "9" * 20):
        fields = form_of(api_key, [EVENT], upload_time=odd)
        del fields["checksum"]
        assert post(server, fields).status == 200
        assert server.records[-1].client_upload_micros is None


def test_too_much_is_the_413_that_halves_the_batch(server: Any, api_key: str) -> None:
    assert post(server, form_of(api_key, [EVENT] * 2000)).body == b"Request Entity Too Large"
    assert (
        post(server, form_of(api_key, [{"device_id": "d", "event_type": "e"}] * 2001)).status == 413
    )


def test_a_library_that_sends_too_fast_is_throttled(serve: Any, api_key: str) -> None:
    served = serve(rates=Rates({"/": Rate(1)}))
    assert post(served, form_of(api_key, [EVENT] * 30)).status == 200
    assert post(served, form_of(api_key, [EVENT])).body == b"throttled"
