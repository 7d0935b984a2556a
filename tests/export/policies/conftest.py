"""Two servers that enforce bucket policies, and buckets that have the printed policy or less."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tailrace.demo import seaweed
from tailrace.export import policy
from tailrace.ids import SystemIds
from tailrace.state.delivery import Destination
from tests.export.conftest import PREFIX
from tests.export.policies import ceph

ACTIONS = [grant.action for grant in policy.GRANTS]
BOTH = ["seaweedfs", "ceph"]


@pytest.fixture(scope="session")
def gateway() -> Iterator[ceph.Ceph]:
    missing = ceph.missing_programs()
    if missing:
        reason = f"of Ceph there is no {', '.join(missing)} here; see scripts/debian-packages"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with ceph.start(SystemIds()) as running:
        yield running


@pytest.fixture(params=BOTH)
def enforcing(request: pytest.FixtureRequest) -> Any:
    """Each of the two servers in turn."""
    return request.getfixturevalue("server" if request.param == "seaweedfs" else "gateway")


@pytest.fixture
def place(enforcing: Any) -> policy.Place:
    name = f"acme-{os.urandom(6).hex()}"
    enforcing.create_bucket(name)
    return policy.place(
        bucket=name,
        prefix=PREFIX,
        principal=enforcing.exporter_arn,
        region=seaweed.REGION,
        endpoint_url=enforcing.endpoint_url,
    )


@pytest.fixture
def there(
    place: policy.Place, enforcing: Any, make_destination: Callable[..., Destination]
) -> Destination:
    """A destination at the place, whose bucket has no policy yet."""
    return make_destination(
        place.bucket,
        endpoint_url=enforcing.endpoint_url,
        access_key_id=enforcing.exporter.access_key_id,
        secret_encrypted=enforcing.exporter.secret_access_key.encode(),
    )


def without(place: policy.Place, *actions: str) -> str:
    """Return the whole policy but for some actions."""
    left = policy.statements(place, set(ACTIONS) - set(actions))
    return policy.as_json(policy.Policy("2012-10-17", left))
