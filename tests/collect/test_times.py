"""The client's upload time, as SDKs write it and as nobody should."""

from __future__ import annotations

import pytest

from tailrace.collect.times import client_upload_micros


@pytest.mark.parametrize(
    ("given", "micros"),
    [
        ("2023-11-14T22:13:20.123Z", 1_700_000_000_123_000),
        ("2023-11-15T00:13:20.123456+02:00", 1_700_000_000_123_456),
        ("2023-11-14T22:13:20", 1_700_000_000_000_000),
        (1_700_000_000_123, 1_700_000_000_123_000),
        (1_700_000_000_123.5, 1_700_000_000_123_500),
        (None, None),
        ("", None),
        ("1700000000123", None),
        ("0001-01-01T00:00:00+23:00", None),
        (-1, None),
        (float("nan"), None),
        (10**300, None),
    ],
)
def test_a_readable_upload_time_becomes_microseconds(
    given: str | float | None, micros: int | None
) -> None:
    assert client_upload_micros(given) == micros
