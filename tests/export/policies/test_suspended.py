"""Users that an operator of Ceph suspends: no permission is missing then, and none is named."""

from __future__ import annotations

import pytest

from tailrace.export import policy
from tailrace.export.client import Clients
from tailrace.export.verify import verify
from tailrace.state.delivery import Destination
from tests.export.policies import ceph


@pytest.mark.parametrize("enforcing", ["ceph"], indirect=True)
@pytest.mark.parametrize("user", ["exporter", "owner"])
def test_a_suspended_user_is_told_so_and_no_permission_is_named(
    enforcing: ceph.Ceph, place: policy.Place, there: Destination, clients: Clients, user: str
) -> None:
    enforcing.put_document(place.bucket, policy.as_json(policy.bucket_policy(place)))
    admin = ("radosgw-admin", "-n", "client.rgw.one", "user")
    whose = ("--tenant", ceph.TENANT, "--uid", user)
    enforcing.run(*admin, "suspend", *whose)
    try:
        found = verify(there, clients)
    finally:
        enforcing.run(*admin, "enable", *whose)

    assert not found.passed
    assert found.missing_actions == ()
    assert found.cause is not None
    assert (found.cause.kind, found.cause.code) == ("access", "UserSuspended")
    assert "account is suspended" in found.cause.sentence
    assert "policy" not in found.cause.fix
    assert verify(there, clients).passed
