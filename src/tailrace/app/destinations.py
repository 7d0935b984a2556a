"""Adding and verifying a destination, as the command line and the pages both do it."""

from __future__ import annotations

import msgspec

from tailrace.clock import SystemClock
from tailrace.errors import BadRequest
from tailrace.export.activation import verify_and_activate
from tailrace.export.bucket_names import check_bucket_name, check_region
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.endpoints import check_endpoint
from tailrace.export.verify import Told, Verification, nobody
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.seal.names import check_prefix
from tailrace.settings import Settings
from tailrace.state.delivery import Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.secrets import Secrets


class NewBucket(msgspec.Struct, frozen=True):
    """What a person says of a bucket; `secret_access_key` is plain text, on its way to be kept."""

    project: int
    bucket: str
    region: str
    prefix: str
    endpoint_url: str | None
    access_key_id: str | None
    secret_access_key: str | None
    include_events: bool
    include_merged_ids: bool

    def __repr__(self) -> str:
        return f"NewBucket(project={self.project}, bucket={self.bucket!r})"


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
    secrets = open_secrets(folder)
    prefix = new.prefix if not new.prefix or new.prefix.endswith("/") else new.prefix + "/"
    endpoint_url = new.endpoint_url
    if endpoint_url is not None:
        endpoint_url = check_endpoint(
            endpoint_url, private_allowed=settings.export.private_endpoints
        )
    if new.access_key_id is not None and not new.access_key_id.strip():
        raise BadRequest("The access key ID is empty. Leave it out, or give the key's ID.")
    secret = new.secret_access_key
    destination = destinations.add(
        NewDestination(
            project=new.project,
            bucket=check_bucket_name(new.bucket),
            region=check_region(new.region),
            prefix=check_prefix(prefix),
            endpoint_url=endpoint_url,
            access_key_id=new.access_key_id,
            secret_encrypted=None if secret is None else secrets.encrypt(secret),
            include_events=new.include_events,
            include_merged_ids=new.include_merged_ids,
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
    step as it happens.
    """
    clients = open_clients(folder, settings)
    return verify_and_activate(destination.id, destinations, clients, region=region, told=told)


def open_clients(folder: DataFolder, settings: Settings) -> Clients:
    """Return the source of S3 clients, with the folder's key for stored secrets."""
    client_settings = ClientSettings(private_endpoints=settings.export.private_endpoints)
    return Clients(client_settings, open_secrets(folder).decrypt, SystemClock())


def open_secrets(folder: DataFolder) -> Secrets:
    """Return the folder's secrets, making their key if there is none."""
    return Secrets.open(folder.secrets_key, Files(), SystemIds())
