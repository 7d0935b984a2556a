"""The body of an upload request in its canonical form, as `collect` stores and `process` reads it.

Types follow the protocol's event keys (behaviour of `POST /2/httpapi`, section 3.1.2). Canonical
means: identifiers are trimmed strings or absent, strings are cut to 1024 characters, property
objects are JSON objects on one line of valid UTF-8 without repeated keys, and no known key is null.
"""

from __future__ import annotations

import msgspec

EMPTY_OBJECT = msgspec.Raw(b"{}")


class Plan(msgspec.Struct, frozen=True, gc=False):
    """The tracking plan named by an event; other keys are dropped."""

    branch: str | None = None
    source: str | None = None
    version: str | None = None
    version_id: str | None = msgspec.field(default=None, name="versionId")


class IngestionMetadata(msgspec.Struct, frozen=True, gc=False):
    """Where an event came from, as partner integrations say it."""

    source_name: str | None = None
    source_version: str | None = None


class UploadEvent(msgspec.Struct, gc=False):
    """One event as a client sent it; property objects stay JSON bytes."""

    event_type: str
    user_id: str | None = None
    device_id: str | None = None
    time: int | None = None
    insert_id: str | None = None
    session_id: int | None = None
    event_id: int | None = None
    event_properties: msgspec.Raw = EMPTY_OBJECT
    user_properties: msgspec.Raw = EMPTY_OBJECT
    groups: msgspec.Raw = EMPTY_OBJECT
    group_properties: msgspec.Raw = EMPTY_OBJECT
    skip_user_properties_sync: bool = msgspec.field(
        default=False, name="$skip_user_properties_sync"
    )
    user_agent: str | None = None
    app_version: str | None = None
    version_name: str | None = None
    platform: str | None = None
    os_name: str | None = None
    os_version: str | None = None
    device_brand: str | None = None
    device_manufacturer: str | None = None
    device_model: str | None = None
    carrier: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    dma: str | None = None
    language: str | None = None
    price: float | None = None
    quantity: int | None = None
    revenue: float | None = None
    product_id: str | None = msgspec.field(default=None, name="productId")
    revenue_type: str | None = msgspec.field(default=None, name="revenueType")
    currency: str | None = None
    receipt: str | None = None
    receipt_signature: str | None = msgspec.field(default=None, name="receiptSig")
    location_lat: float | None = None
    location_lng: float | None = None
    ip: str | None = None
    idfa: str | None = None
    idfv: str | None = None
    adid: str | None = None
    android_id: str | None = None
    android_app_set_id: str | None = None
    library: str | None = None
    partner_id: str | None = None
    # Only identifies have these two.
    paying: str | bool | None = None
    start_version: str | None = None
    plan: Plan | None = None
    ingestion_metadata: IngestionMetadata | None = None


class UploadOptions(msgspec.Struct, frozen=True, gc=False):
    """The `options` of a request."""

    min_id_length: int | None = None


class Upload(msgspec.Struct, gc=False):
    """A whole request body; keys that no rule names are ignored."""

    events: list[UploadEvent]
    api_key: str | None = None
    options: UploadOptions | None = None
    client_upload_time: str | None = None
