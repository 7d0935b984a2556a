from __future__ import annotations

import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tailrace.process.enrich import (
    attribution_ids,
    derived_device_id,
    drop_empty_strings,
    may_have_operations,
    may_hold_empty_strings,
)
from tailrace.upload import UploadEvent

NAMESPACE = uuid.UUID("3f5c0b7a-94d3-4c1e-8a67-10d2be5f7c48")


@given(st.text(min_size=1))
def test_a_derived_device_id_is_the_version_5_uuid_of_the_user_id(user_id: str) -> None:
    assert derived_device_id(user_id) == str(uuid.uuid5(NAMESPACE, user_id))


def test_a_derived_device_id_never_changes_between_releases() -> None:
    assert derived_device_id("shopper-000017") == "76d731d8-ceb9-5858-8444-c595331ba4e6"


def test_remote_means_the_clients_address_and_nothing_means_none(bench: Any) -> None:
    for address in ("203.0.113.7", ""):
        given = [{"event_type": "e", "device_id": "device", "ip": ip} for ip in ("$remote", None)]
        bench.send(*given, {**given[0], "ip": "198.51.100.1"}, address=address)

    bench.run()

    assert [line["ip_address"] for line in bench.lines()] == [
        *("203.0.113.7", None, "198.51.100.1"),
        *(None, None, "198.51.100.1"),
    ]


@given(
    st.binary(max_size=40).map(lambda body: body.replace(b'"', b"'")),
    st.sampled_from([b"", b'"', b'""', b'"a"', b'"" ""']),
    st.sampled_from([0, 8_191, 8_192, 9_000]),
)
def test_two_quotes_side_by_side_are_found_in_bodies_of_any_length(
    body: bytes, quotes: bytes, length: int
) -> None:
    for whole in (body.ljust(length) + quotes, quotes + body.ljust(length)):
        assert may_hold_empty_strings(whole) is (b'""' in whole)


def test_a_dollar_sign_is_found_plain_and_escaped() -> None:
    for body, found in ((b"{}", False), (b"a$", True), (b"\\u0024", True), (b"\\u0025", False)):
        assert may_have_operations(body) is found


def test_advertising_ids_leave_only_one_hash() -> None:
    both = UploadEvent("e", idfa="A", android_id="B")

    # sha256sum of "A,B"
    assert attribution_ids(both) == (
        "b17c8419f544abd0648345006bbe975b43acf9fc878712a1116312f3e1e24b2e"
    )
    assert attribution_ids(UploadEvent("e")) is None


def test_empty_strings_become_absent() -> None:
    event = UploadEvent("e", city="", user_id="", insert_id="", platform="Web")

    drop_empty_strings(event)

    assert (event.city, event.user_id, event.insert_id, event.platform) == (None, None, None, "Web")
