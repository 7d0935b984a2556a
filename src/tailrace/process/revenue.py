"""Revenue: the fields of an event that say it, as event properties, and who pays (4.4.7, D24).

Pure functions of what the client sent.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec

from tailrace.upload import EMPTY_OBJECT, UploadEvent

_PROPERTY = {
    "price": "$price",
    "quantity": "$quantity",
    "product_id": "$productId",
    "revenue_type": "$revenueType",
    "currency": "$currency",
    "receipt": "$receipt",
    "receipt_signature": "$receiptSig",
}
# What says nothing without an amount is not tracked (3.1.2).
_NEED_AN_AMOUNT = frozenset(("product_id", "revenue_type"))

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.decode
_encode = msgspec.json.Encoder().encode


def has_revenue_fields(event: UploadEvent) -> bool:
    """Say whether any field is there that becomes an event property."""
    return (
        event.price is not None
        or event.revenue is not None
        or event.quantity is not None
        or event.currency is not None
        or event.product_id is not None
        or event.revenue_type is not None
        or event.receipt is not None
        or event.receipt_signature is not None
    )


def revenue_of(event: UploadEvent) -> float | None:
    """Return what an event earned: its fields count before the properties that SDKs fill.

    Negative is a refund. None without an amount, or with one that no double can hold.
    """
    if event.revenue is not None or event.price is not None:
        return _amount(event.price, event.quantity, event.revenue)
    if event.event_properties is EMPTY_OBJECT:
        return None
    raw = bytes(event.event_properties)
    # One byte is found much faster than six, and escapes are rare.
    if b"$" not in raw and (b"\\" not in raw or b"\\u0024" not in raw):
        return None
    found = _decode_object(raw)
    revenue = _number(found.get("$revenue"))
    if revenue is not None:
        return revenue
    return _amount(_number(found.get("$price")), _number(found.get("$quantity")), None)


def with_revenue(event: UploadEvent) -> msgspec.Raw:
    """Return the event properties with those that the revenue fields become.

    A field wins over a property of the same name that the client sent beside it.
    """
    properties: dict[str, Any] = dict(_decode_object(event.event_properties))
    amount = _amount(event.price, event.quantity, event.revenue)
    if amount is not None:
        properties["$revenue"] = amount
    for field, name in _PROPERTY.items():
        value = getattr(event, field)
        if value is not None and (amount is not None or field not in _NEED_AN_AMOUNT):
            properties[name] = value
    if event.price is not None and event.quantity is None:
        properties["$quantity"] = 1
    return msgspec.Raw(_encode(properties))


def _amount(price: float | None, quantity: float | None, revenue: float | None) -> float | None:
    """Return price times quantity where both are there, else the revenue, else one price."""
    if price is not None and (quantity is not None or revenue is None):
        # Of decimal digits as they were sent: three times 0.1 is 0.3, not 0.30000000000000004.
        product = float(Decimal(repr(price)) * Decimal(repr(1 if quantity is None else quantity)))
        return product if math.isfinite(product) else revenue
    return revenue


def _number(value: msgspec.Raw | None) -> float | None:
    if value is None:
        return None
    number = _decode_value(value)
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    try:
        return float(number) if is_number else None
    except OverflowError:
        return None
