"""S3 clients: with the operator's credentials, an assumed role, or a destination's own key.

One client for all destinations of the same access; it takes nothing from the environment that the
operator did not mean.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import msgspec
from botocore.client import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import EndpointConnectionError
from botocore.loaders import Loader, create_loader

from tailrace.clock import Clock
from tailrace.errors import NeedsOperator
from tailrace.export.endpoints import NoAddress, check_address, check_endpoint
from tailrace.export.transport import Transport, any_address
from tailrace.state.delivery import Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

DEFAULT_REGION = "us-east-1"

# A client takes 0.5 MB, beside the service model that all share, and 13 ms of CPU to make: those
# that are kept must suffice for a hundred destinations whose hours end at the same moment.
CLIENTS_MAX = 128
# AWS allows 15 minutes to 12 hours; one hour is what every role allows.
ROLE_SECONDS = 3600
ROLE_SESSION_NAME = "tailrace-export"

Decrypt = Callable[[bytes], str]


class ClientSettings(msgspec.Struct, frozen=True):
    """How clients connect. `proxies` maps `http` and `https` to a proxy's URL."""

    private_endpoints: bool
    # Also the longest that one write to the network may hang.
    connect_timeout_seconds: float = 10.0
    # Silence, not work: S3 sends blanks while it completes an upload. Must stay well under a lease,
    # or the next holder aborts an upload that is just being completed.
    read_timeout_seconds: float = 20.0
    connections_max: int = 16
    proxies: tuple[tuple[str, str], ...] = ()
    # Certificates (PEM) to trust besides the public authorities; empty: none.
    ca_file: str = ""
    sts_endpoint_url: str | None = None


class Clients:
    """Make clients and keep the most recently used; any thread may ask.

    `machine` is the machine's clock, by which requests may take their time.
    """

    def __init__(self, settings: ClientSettings, decrypt: Decrypt, machine: Clock) -> None:
        self._settings = settings
        self._decrypt = decrypt
        self._machine = machine
        self._loader = create_loader()
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[_Access, bytes], S3Client] = OrderedDict()

    def of(self, destination: Destination) -> S3Client:
        """Return a client with the destination's access.

        Raise `BadRequest` for its endpoint, `EndpointConnectionError` if that has no address.
        """
        access = _access_of(destination)
        key = self._key_of(access)
        with self._lock:
            client = self._kept.get(key)
        if client is None:
            # Outside the lock, for it looks names up; two made at once do no harm.
            client = self._open(access)
        with self._lock:
            self._kept[key] = client
            self._kept.move_to_end(key)
            while len(self._kept) > CLIENTS_MAX:
                self._kept.popitem(last=False)
        return client

    def open_in(self, destination: Destination, region: str) -> S3Client:
        """Return a new client for another region than the destination's, for its probes."""
        return self._open(msgspec.structs.replace(_access_of(destination), region=region))

    def _key_of(self, access: _Access) -> tuple[_Access, bytes]:
        """Return what is the same for the same secret, which no two encryptions of it are."""
        if access.secret_encrypted is None:
            return access, b""
        secret = self._decrypt(access.secret_encrypted)
        return (
            msgspec.structs.replace(access, secret_encrypted=None),
            hashlib.sha256(secret.encode()).digest(),
        )

    def _open(self, access: _Access) -> S3Client:
        settings = self._settings
        endpoint_url = access.endpoint_url
        if endpoint_url is not None:
            endpoint_url = _checked(endpoint_url, settings)
        session = self._session(access)
        client: S3Client = session.client(
            "s3",
            region_name=access.region,
            endpoint_url=endpoint_url,
            config=_config(access, settings),
        )
        client.meta.events.register("before-call.s3", _keep_to_the_region)
        transport = self._transport(_address_check(endpoint_url, settings))
        client.meta.events.register("before-send.s3", transport.send)
        return client

    def _session(self, access: _Access) -> boto3.Session:
        if access.access_key_id is not None:
            if access.secret_encrypted is None:
                raise NeedsOperator(
                    f"Cannot use the access key {access.access_key_id}: its secret is not stored. "
                    "Add the destination again."
                )
            session = sealed_session(self._loader)
            session.set_credentials(access.access_key_id, self._decrypt(access.secret_encrypted))
            return boto3.Session(botocore_session=session)
        operator = _with_loader(botocore.session.Session(), self._loader)
        if access.role_arn is None:
            return boto3.Session(botocore_session=operator)
        session = sealed_session(self._loader)
        role = _AssumedRole(_role_refresher(access, self._settings, operator, self._transport()))
        session.register_component("credential_provider", CredentialResolver(providers=[role]))
        return boto3.Session(botocore_session=session)

    def _transport(self, check_address: Callable[[str], None] = any_address) -> Transport:
        settings = self._settings
        return Transport(
            self._machine,
            ca_file=settings.ca_file,
            proxies=dict(settings.proxies),
            timeouts_seconds=(settings.connect_timeout_seconds, settings.read_timeout_seconds),
            connections_max=settings.connections_max,
            check_address=check_address,
        )


class _Access(msgspec.Struct, frozen=True):
    """What makes two destinations need different clients."""

    region: str
    endpoint_url: str | None
    access_key_id: str | None
    secret_encrypted: bytes | None
    role_arn: str | None
    external_id: str | None
    checksums: bool


def _access_of(destination: Destination) -> _Access:
    capabilities = destination.capabilities
    return _Access(
        region=destination.region or DEFAULT_REGION,
        endpoint_url=destination.endpoint_url,
        access_key_id=destination.access_key_id,
        secret_encrypted=destination.secret_encrypted,
        role_arn=destination.role_arn,
        external_id=destination.external_id,
        checksums=capabilities is not None and capabilities.checksums,
    )


def _checked(endpoint_url: str, settings: ClientSettings) -> str:
    """Return the endpoint in its plain form; raise as `check_endpoint` does.

    Raise what a request would raise where its name has no address just now: that may pass.
    """
    try:
        return check_endpoint(endpoint_url, private_allowed=settings.private_endpoints)
    except NoAddress as error:
        raise EndpointConnectionError(endpoint_url=endpoint_url, error=error) from error


def _address_check(endpoint_url: str | None, settings: ClientSettings) -> Callable[[str], None]:
    """Return what looks at the addresses that connections to a customer's endpoint lead to.

    Amazon's own names may lead into one's network on purpose, and through a proxy all connections
    lead to it.
    """
    if endpoint_url is None or settings.private_endpoints or settings.proxies:
        return any_address
    host = urlsplit(endpoint_url).hostname or ""
    return lambda address: check_address(endpoint_url, host, address)


def _config(access: _Access, settings: ClientSettings) -> Config:
    s3: Any = {"us_east_1_regional_endpoint": "regional"}
    if access.endpoint_url is not None:
        s3["addressing_style"] = "path"
    if access.checksums and not (access.endpoint_url or "https:").startswith("http:"):
        # Under TLS the CRC32, known from sealing, is enough: the bytes are not hashed once more.
        s3["payload_signing_enabled"] = False
    return Config(
        **_connection(settings),
        signature_version="s3v4",
        max_pool_connections=settings.connections_max,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=s3,
    )


def _connection(settings: ClientSettings) -> dict[str, Any]:
    return {
        # The ledger alone decides when something is tried again.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        # An empty mapping, unlike none at all, keeps the environment's proxies out.
        "proxies": dict(settings.proxies),
        "ignore_configured_endpoint_urls": True,
    }


def _keep_to_the_region(params: dict[str, Any], **_: Any) -> None:
    # Without this botocore follows S3 to the bucket's true region and nobody learns of it.
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


class _AssumedRole(CredentialProvider):
    """Credentials of a role, asked for with the first request and again before they end."""

    METHOD = "tailrace-assume-role"
    CANONICAL_NAME = None

    def __init__(self, refresh: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self._refresh = refresh

    def load(self) -> DeferredRefreshableCredentials:
        """Return credentials that refresh themselves."""
        return DeferredRefreshableCredentials(refresh_using=self._refresh, method=self.METHOD)


def sealed_session(loader: Loader) -> botocore.session.Session:
    """Return a session that reads no environment variable, no file and no metadata service.

    Sessions of one `loader` share the service models, which are large and slow to read.
    """
    variables = {
        name: (in_file, None, default, convert)
        for name, (in_file, _, default, convert) in (
            botocore.session.Session.SESSION_VARIABLES.items()
        )
    }
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    return _with_loader(botocore.session.Session(session_vars=variables), loader)


def _with_loader(session: botocore.session.Session, loader: Loader) -> botocore.session.Session:
    session.register_component("data_loader", loader)
    return session


def _role_refresher(
    access: _Access,
    settings: ClientSettings,
    operator: botocore.session.Session,
    transport: Transport,
) -> Callable[[], dict[str, str]]:
    sts: Any = operator.create_client(
        "sts",
        region_name=access.region,
        endpoint_url=settings.sts_endpoint_url,
        config=Config(**_connection(settings)),
    )
    sts.meta.events.register("before-send.sts", transport.send)
    request: dict[str, Any] = {
        "RoleArn": access.role_arn,
        "RoleSessionName": ROLE_SESSION_NAME,
        "DurationSeconds": ROLE_SECONDS,
    }
    if access.external_id is not None:
        request["ExternalId"] = access.external_id

    def refresh() -> dict[str, str]:
        given = sts.assume_role(**request)["Credentials"]
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
        }

    return refresh
