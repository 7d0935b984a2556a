from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.process.revenue import has_revenue_fields, revenue_of, with_revenue
from tailrace.upload import UploadEvent


def event(**fields: Any) -> UploadEvent:
    body = {"event_type": "e", "device_id": "device-1", **fields}
    return msgspec.json.decode(json.dumps(body), type=UploadEvent)


@pytest.mark.parametrize(
    ("fields", "properties"),
    [
        ({"revenue": 9.5}, {"$revenue": 9.5}),
        ({"price": 2.5}, {"$revenue": 2.5, "$price": 2.5, "$quantity": 1}),
        ({"price": 0.1, "quantity": 3}, {"$revenue": 0.3, "$price": 0.1, "$quantity": 3}),
        (
            {"price": 2, "quantity": 3, "revenue": 100},
            {"$revenue": 6, "$price": 2, "$quantity": 3},
        ),
        ({"price": 2, "revenue": 100}, {"$revenue": 100, "$price": 2, "$quantity": 1}),
        ({"price": -2, "quantity": 2}, {"$revenue": -4, "$price": -2, "$quantity": 2}),
        ({"revenue": 0}, {"$revenue": 0}),
        ({"quantity": 3}, {"$quantity": 3}),
        ({"currency": "EUR"}, {"$currency": "EUR"}),
        ({"productId": "p", "revenueType": "tip"}, {}),
        (
            {"productId": "p", "revenueType": "tip", "revenue": 1, "currency": "EUR"},
            {"$revenue": 1, "$productId": "p", "$revenueType": "tip", "$currency": "EUR"},
        ),
        (
            {"receipt": "r", "receiptSig": "s"},
            {"$receipt": "r", "$receiptSig": "s"},
        ),
        (
            {"revenue": 5, "event_properties": {"$revenue": 7, "color": "red"}},
            {"$revenue": 5, "color": "red"},
        ),
        (
            {"price": 1e308, "quantity": 100},
            {"$price": 1e308, "$quantity": 100},
        ),
    ],
)
def test_fields_become_event_properties(
    bench: Any, fields: dict[str, Any], properties: dict[str, Any]
) -> None:
    bench.send({"device_id": "device-1", "event_type": "e", **fields})

    bench.run()

    assert bench.lines()[0]["event_properties"] == properties


@pytest.mark.parametrize(
    ("fields", "amount"),
    [
        ({}, None),
        ({"quantity": 3}, None),
        ({"event_properties": {"$revenue": 3}}, 3),
        ({"event_properties": {"$price": 3, "$quantity": 2}}, 6),
        ({"event_properties": {"$price": 3}}, 3),
        ({"event_properties": {"$revenue": "3"}}, None),
        ({"event_properties": {"$revenue": True}}, None),
        ({"event_properties": {"$revenue": None}}, None),
        ({"event_properties": {"$revenue": 10**400}}, None),
        ({"event_properties": {"inner": {"$revenue": 3}}}, None),
        ({"revenue": 0, "event_properties": {"$revenue": 3}}, 0),
    ],
)
def test_what_an_event_earned(fields: dict[str, Any], amount: float | None) -> None:
    assert revenue_of(event(**fields)) == amount


def test_a_person_pays_from_the_first_revenue_on(bench: Any) -> None:
    one = {"device_id": "device-1", "event_type": "e"}
    bench.send(one, {**one, "revenue": -1}, {**one, "revenue": 0})
    bench.send({**one, "price": 2}, one)
    bench.run()
    bench.crash()
    bench.send({**one, "revenue": -2}, {**one, "device_id": "device-2"})
    bench.send({**one, "revenue": 2}, project=300002)

    bench.run()

    assert [line["paying"] for line in bench.lines()] == [None] * 3 + [True] * 3 + [None]
    assert [line["paying"] for line in bench.lines(300002)] == [True]


def test_revenue_among_the_properties_that_sdks_fill_pays_too(bench: Any) -> None:
    one = {"device_id": "device-1", "event_type": "revenue_amount"}
    properties = {"$productId": "p", "$price": 2.5, "$quantity": 2}
    bench.send({**one, "event_properties": properties})

    bench.run()

    (line,) = bench.lines()
    assert line["paying"] is True
    assert line["event_properties"] == properties


def test_a_duplicate_pays_nothing(bench: Any) -> None:
    one = {"device_id": "device-1", "event_type": "e", "insert_id": "i"}
    bench.send(one, {**one, "revenue": 3}, {**one, "insert_id": "j"})

    bench.run()

    assert [line["paying"] for line in bench.lines()] == [None, None]


def test_other_properties_keep_their_bytes(bench: Any) -> None:
    bench.append(
        b'{"events":[{"device_id":"device-1","event_type":"e","revenue":1,'
        b'"event_properties":{"n":1.50,"u":"\\u00e9","big":123456789012345678901234567890}}]}'
    )

    bench.run()

    assert b'{"n":1.50,"u":"\\u00e9","big":123456789012345678901234567890,' in bench.raw()


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(numbers, st.none() | st.integers(-(2**63), 2**63 - 1), numbers)
def test_amounts_are_finite_and_settling_twice_changes_nothing(
    price: float | None, quantity: int | None, revenue: float | None
) -> None:
    sent = UploadEvent(event_type="e", price=price, quantity=quantity, revenue=revenue)
    if not has_revenue_fields(sent):
        return
    amount = revenue_of(sent)
    sent.event_properties = with_revenue(sent)
    once = bytes(sent.event_properties)

    assert amount is None or math.isfinite(amount)
    assert msgspec.json.decode(once).get("$revenue") == amount
    assert bytes(with_revenue(sent)) == once
