"""`Line`: the exported line of one event, 49 keys in the documented order (R35, D3), or 55.

Made once, as bytes; the customer receives exactly these.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.upload import EMPTY_OBJECT


class Line(msgspec.Struct, gc=False):
    """One event as it is exported; every key is always there (D40). Times are text (D1)."""

    server_received_time: str
    app: int
    device_carrier: str | None
    schema: msgspec.Raw = msgspec.field(name="$schema")
    city: str | None
    user_id: str | None
    uuid: str
    event_time: str
    platform: str | None
    os_version: str | None
    amplitude_id: int
    processed_time: str
    user_creation_time: str | None
    version_name: str | None
    ip_address: str | None
    paying: bool | None
    dma: str | None
    group_properties: msgspec.Raw
    user_properties: msgspec.Raw
    client_upload_time: str
    insert_id: str | None = msgspec.field(name="$insert_id")
    event_type: str
    library: str | None
    amplitude_attribution_ids: str | None
    device_type: str | None
    device_manufacturer: str | None
    start_version: str | None
    location_lng: float | None
    server_upload_time: str
    event_id: int
    location_lat: float | None
    os_name: str | None
    amplitude_event_type: None
    device_brand: str | None
    groups: msgspec.Raw
    event_properties: msgspec.Raw
    data: msgspec.Raw
    device_id: str
    language: str | None
    device_model: str | None
    country: str | None
    region: str | None
    is_attribution_event: None
    adid: str | None
    session_id: int
    device_family: str | None
    sample_rate: None
    idfa: str | None
    client_event_time: str


class ExtendedLine(Line, gc=False):
    """A line with the six newer columns behind the documented ones (5.1.3, D3)."""

    insert_key: None = msgspec.field(default=None, name="$insert_key")
    data_type: str = "event"
    global_user_properties: None = None
    partner_id: str | None = None
    plan: msgspec.Raw = EMPTY_OBJECT
    source_id: None = None


_encoder = msgspec.json.Encoder()


def encode(lines: Sequence[Line], body: bytes) -> bytes:
    """Return the lines as JSON, each ended by a line feed; `body` is what they were read from.

    Raises `ValueError` if a property object holds a raw line break, which would make two lines.
    """
    encoded = _encoder.encode_lines(lines)
    # To find one byte in the body is ten times faster than to count it in the lines.
    if b"\n" in body and encoded.count(b"\n") != len(lines):
        raise ValueError("a property object is not on one line")
    return encoded


def data_objects(path: str) -> tuple[msgspec.Raw, ...]:
    """Return the values of `data` for an endpoint (5.1.4, D31).

    The index is 1 if the event carried user properties, plus 2 if it is the person's first.
    """
    start: dict[str, object] = {"path": path, "group_first_event": {}, "group_ids": {}}
    updated: dict[str, object] = {"user_properties_updated": True}
    first: dict[str, object] = {"first_event": True}
    return tuple(
        msgspec.Raw(_encoder.encode(value))
        for value in (start, start | updated, start | first, start | updated | first)
    )
