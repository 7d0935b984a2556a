"""A store that does not encrypt: Ceph's gateway, which has no keys and is asked over plain HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tailrace.export import policy
from tailrace.export.client import Clients
from tailrace.export.verify import verify
from tailrace.state.delivery import Destination


@pytest.mark.parametrize("enforcing", ["ceph"], indirect=True)
def test_what_the_store_can_not_do_is_said_with_what_was_asked_for(
    place: policy.Place, there: Destination, enforcing: Any, clients: Clients
) -> None:
    enforcing.put_document(place.bucket, policy.as_json(policy.bucket_policy(place)))
    assert verify(there, clients).passed
    for changes, words in (
        ({"encryption": "AES256"}, "SSE-S3"),
        ({"encryption": "aws:kms", "kms_key_arn": "acme"}, "SSE-KMS with acme"),
    ):
        found = verify(msgspec.structs.replace(there, **changes), clients)
        assert found.cause is not None
        assert found.cause.title == "The store does not encrypt as this destination asks"
        assert f"the store does not encrypt with {words}." in found.cause.sentence
        assert "Choose the bucket's default" in found.cause.fix
        assert (found.passed, found.left_behind) == (False, ())
