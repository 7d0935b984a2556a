"""Every limit of the collector as plain values, and the two upload endpoints (D35)."""

from __future__ import annotations

import msgspec

MEBIBYTE = 1_048_576


class Limits(msgspec.Struct, frozen=True):
    """What one request, and all requests of a process together, may take.

    Sizes count the decompressed body. The defaults are D35 and section 3.1.3; the ones without a
    source there bound memory and time and say so.
    """

    httpapi_bytes_max: int = MEBIBYTE
    batch_bytes_max: int = 20 * MEBIBYTE
    events_max: int = 2000
    id_length_min: int = 5

    # The bytes of all requests that are read, decoded or waiting for the disk: a third of the
    # memory that a process may use, because a decoded body takes a few times its bytes.
    flight_bytes_max: int = 96 * MEBIBYTE
    flight_wait_seconds: float = 10.0
    # A body above this is decoded in a thread, one at a time: 1 MiB takes about 3 ms.
    inline_bytes_max: int = MEBIBYTE
    # A body above this with more values than this (commas, to be exact) is decoded event by event.
    values_max: int = 250_000
    # What one event of such a body may hold: real ones have a hundredth of this. Decoded and
    # checked, a pair of ten bytes takes five hundred, and so does an object of eight.
    event_values_max: int = 250_000
    event_containers_max: int = 250_000

    # A client that sends nothing for this long, or is not done by then, gets 408.
    body_idle_seconds: float = 20.0
    body_total_seconds: float = 120.0
    # What is read and thrown away after a refusal, so that a client that is still sending sees
    # the answer instead of a reset connection.
    discard_bytes_max: int = 64 * MEBIBYTE
    discard_seconds: float = 10.0


class Endpoint(msgspec.Struct, frozen=True):
    """One upload path and the largest decompressed body that it takes."""

    path: str
    body_bytes_max: int


def upload_endpoints(limits: Limits) -> dict[str, Endpoint]:
    """Return `POST /2/httpapi` (section 3.1) and `POST /batch` (section 3.2) by path."""
    endpoints = (
        Endpoint("/2/httpapi", limits.httpapi_bytes_max),
        Endpoint("/batch", limits.batch_bytes_max),
    )
    return {endpoint.path: endpoint for endpoint in endpoints}
