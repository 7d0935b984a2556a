"""Adding and verifying a destination, as the command line and the pages both do it."""

from __future__ import annotations

import msgspec

from tailrace.clock import SystemClock
from tailrace.errors import BadRequest
from tailrace.export.activation import verify_and_activate
from tailrace.export.bucket_names import (
    check_bucket_name,
    check_external_id,
    check_region,
    check_role,
)
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.encryption import check_encryption
from tailrace.export.endpoints import check_endpoint
from tailrace.export.verify import Told, Verification, nobody
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.seal.names import check_prefix
from tailrace.settings import Settings
from tailrace.state.delivery import Destination, Encryption
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.secrets import Secrets


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """With whose rights a bucket is used; nothing said: the operator's own principal.

    `secret_access_key` is plain text, on its way to be kept.
    """

    access_key_id: str | None = None
    secret_access_key: str | None = None
    role_arn: str | None = None
    external_id: str | None = None

    def __repr__(self) -> str:
        return f"Access(access_key_id={self.access_key_id!r}, role_arn={self.role_arn!r})"


class NewBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a bucket, and of the destination that it is to be."""

    project: int
    bucket: str
    region: str
    name: str | None = None
    prefix: str = ""
    endpoint_url: str | None = None
    access: Access = Access()
    include_events: bool = True
    include_merged_ids: bool = False
    manifest: bool = True
    marker: bool = True
    encryption: Encryption | None = None
    kms_key_arn: str | None = None


class KeptAccess(msgspec.Struct, frozen=True):
    """Access as it is kept; the fields are those of `Destination`."""

    access_key_id: str | None
    secret_encrypted: bytes | None
    role_arn: str | None
    external_id: str | None


def add_amazon_s3(
    folder: DataFolder,
    destinations: Destinations,
    settings: Settings,
    new: NewBucket,
    told: Told = nobody,
) -> Verification:
    """Keep a new destination and probe it; it becomes active only if every probe passes.

    A prefix gets its last slash. Raise `BadRequest` that names the field and its rule.
    """
    access = keep_access(open_secrets(folder), new.access)
    region = check_region(new.region, new.endpoint_url)
    check_encryption(new.encryption, new.kms_key_arn, region, new.endpoint_url)
    destination = destinations.add(
        NewDestination(
            project=new.project,
            name=new.name,
            bucket=check_bucket_name(new.bucket),
            region=region,
            prefix=check_prefix(with_last_slash(new.prefix)),
            endpoint_url=checked_endpoint(settings, new.endpoint_url),
            include_events=new.include_events,
            include_merged_ids=new.include_merged_ids,
            manifest=new.manifest,
            marker=new.marker,
            encryption=new.encryption,
            kms_key_arn=new.kms_key_arn,
            **msgspec.structs.asdict(access),
        )
    )
    return verify_destination(folder, destinations, settings, destination, told=told)


def verify_destination(
    folder: DataFolder,
    destinations: Destinations,
    settings: Settings,
    destination: Destination,
    *,
    region: str | None = None,
    told: Told = nobody,
) -> Verification:
    """Probe a destination; activate it if every probe passes and it was being set up.

    `region`, if given, becomes the destination's if the bucket is met there. `told` hears of each
    step as it happens. Raise `BadRequest` where its key for encryption lies in another region.
    """
    if region is not None:
        check_encryption(
            destination.encryption, destination.kms_key_arn, region, destination.endpoint_url
        )
    clients = open_clients(folder, settings)
    return verify_and_activate(destination.id, destinations, clients, region=region, told=told)


def with_last_slash(prefix: str) -> str:
    """Return a prefix as it is kept: empty, or with a slash at its end."""
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"


def checked_endpoint(settings: Settings, url: str | None) -> str | None:
    """Return a store's address in its plain form; None is Amazon S3 itself."""
    if url is None:
        return None
    return check_endpoint(url, private_allowed=settings.export.private_endpoints)


def keep_access(secrets: Secrets, access: Access) -> KeptAccess:
    """Check what a person says of access and encrypt its secret."""
    key_id, secret = access.access_key_id, access.secret_access_key
    if (key_id is None) != (secret is None):
        raise BadRequest("An access key ID and its secret go together: give both, or neither.")
    if key_id is not None and not key_id.strip():
        raise BadRequest("The access key ID is empty. Leave it out, or give the key's ID.")
    if access.role_arn is not None and key_id is not None:
        raise BadRequest("Give a role or an access key, not both.")
    if access.external_id is not None and access.role_arn is None:
        raise BadRequest("An external ID goes with a role: give the role's ARN as well.")
    return KeptAccess(
        access_key_id=key_id,
        secret_encrypted=None if secret is None else secrets.encrypt(secret),
        role_arn=None if access.role_arn is None else check_role(access.role_arn),
        external_id=None if access.external_id is None else check_external_id(access.external_id),
    )


def open_clients(folder: DataFolder, settings: Settings) -> Clients:
    """Return the source of S3 clients, with the folder's key for stored secrets."""
    client_settings = ClientSettings(
        private_endpoints=settings.export.private_endpoints, ca_file=settings.export.ca_file
    )
    return Clients(client_settings, open_secrets(folder).decrypt, SystemClock())


def open_secrets(folder: DataFolder) -> Secrets:
    """Return the folder's secrets, making their key if there is none."""
    return Secrets.open(folder.secrets_key, Files(), SystemIds())
