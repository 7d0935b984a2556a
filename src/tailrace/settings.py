"""Settings: `tailrace.toml` in the data folder, each key also an environment variable.

Built once by a process's entry point and handed down. `seal.partition_bytes` in the file is
`TAILRACE_SEAL_PARTITION_BYTES` in the environment, which wins.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tailrace.errors import BadSetting
from tailrace.mailbox import is_mailbox

FILE_NAME = "tailrace.toml"
ENVIRONMENT_PREFIX = "TAILRACE_"

# Variables that are no settings: the folder itself, and the durability tests' kill point.
_NOT_SETTINGS = {"TAILRACE_DATA", "TAILRACE_KILL_AT"}

Percent = Annotated[float, Meta(ge=0, le=90)]
Bytes = Annotated[int, Meta(ge=0)]
PerSecond = Annotated[int, Meta(ge=1, le=100_000)]

# A name or an IPv4 address, an IPv6 address, or nothing: no mail server.
_HOST = re.compile(r"[A-Za-z0-9.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

# The largest body is what the bound on a collector's memory was measured with.
BodyBytes = Annotated[int, Meta(ge=1024, le=20_971_520)]


class AwsSettings(msgspec.Struct, frozen=True):
    """How tailrace appears to AWS."""

    principal_arn: Annotated[
        str, Meta(description="ARN of the role or user that tailrace runs as; named in policies")
    ] = ""


class SmtpSettings(msgspec.Struct, frozen=True):
    """The mail server for notices about buckets and disk."""

    host: Annotated[str, Meta(description="mail server; empty: mails are only kept")] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="its port")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"], Meta(description="how the connection is encrypted")
    ] = "starttls"
    username: Annotated[str, Meta(description="account; empty: no sign-in")] = ""
    password_file: Annotated[str, Meta(description="file that holds the password")] = ""
    sender: Annotated[str, Meta(description="address in From")] = "tailrace@localhost"
    operator: Annotated[
        tuple[str, ...],
        Meta(description="who is told of the disk and of tailrace's own faults"),
    ] = ()
    ca_file: Annotated[
        str, Meta(description="certificates (PEM) to trust besides the machine's; empty: none")
    ] = ""
    timeout_seconds: Annotated[
        int, Meta(ge=1, le=300, description="patience with each answer of the server")
    ] = 30


class CollectSettings(msgspec.Struct, frozen=True):
    """The collectors."""

    processes: Annotated[
        int, Meta(ge=1, le=64, description="collector processes, one log partition each")
    ] = 1
    httpapi_bytes_max: Annotated[
        BodyBytes, Meta(description="largest body of /2/httpapi, decompressed; above it 413")
    ] = 1_048_576
    batch_bytes_max: Annotated[
        BodyBytes, Meta(description="largest body of /batch, decompressed; above it 413")
    ] = 20_971_520
    events_max: Annotated[
        int, Meta(ge=1, le=20_000, description="most events of a request; above it 413")
    ] = 2000
    id_length_min: Annotated[
        int,
        Meta(ge=1, le=1024, description="shortest user and device ID, unless a request says"),
    ] = 5
    rate_limits: Annotated[
        bool, Meta(description="refuse with 429 users and devices that send too fast")
    ] = False
    httpapi_events_per_second: Annotated[
        PerSecond, Meta(description="rate limit of /2/httpapi, on average over 30 s")
    ] = 30
    batch_events_per_second: Annotated[
        PerSecond, Meta(description="rate limit of /batch, on average over 30 s")
    ] = 1000
    batch_events_per_day: Annotated[
        int, Meta(ge=1, le=10**9, description="quota in 24 h of whoever exceeded /batch's rate")
    ] = 500_000
    export_bytes_max: Annotated[
        int, Meta(ge=1, le=2**50, description="largest answer of /api/2/export; above it 400")
    ] = 4 * 1024**3


class LogSettings(msgspec.Struct, frozen=True):
    """The log of accepted requests."""

    keep_hours: Annotated[
        int, Meta(ge=0, le=87600, description="hours that sealed log segments are kept")
    ] = 72


class ProcessSettings(msgspec.Struct, frozen=True):
    """What the processor makes of events."""

    property_updates_per_hour: Annotated[
        int,
        Meta(
            ge=0, le=10**9, description="updates of a user's properties in an hour; 0: any number"
        ),
    ] = 0


class SealSettings(msgspec.Struct, frozen=True):
    """The files of an hour."""

    partition_bytes: Annotated[
        int,
        Meta(ge=1024, le=5 * 1024**3, description="compressed size a partition file aims at"),
    ] = 64 * 1024**2


class ArchiveSettings(msgspec.Struct, frozen=True):
    """The sealed files that stay on this machine."""

    keep_days: Annotated[
        int, Meta(ge=0, le=36500, description="days that delivered files are kept; 0: for ever")
    ] = 0
    evict: Annotated[
        bool, Meta(description="give up delivered files, oldest first, under the first reserve")
    ] = False


class DiskSettings(msgspec.Struct, frozen=True):
    """Three reserves of free space; the smaller of percentage and bytes counts."""

    first_percent: Annotated[Percent, Meta(description="first reserve: the archive shrinks")] = 10
    first_bytes: Annotated[Bytes, Meta(description="first reserve in bytes")] = 10 * 10**9
    second_percent: Annotated[Percent, Meta(description="second reserve: uploads get 503")] = 4
    second_bytes: Annotated[Bytes, Meta(description="second reserve in bytes")] = 4 * 10**9
    third_percent: Annotated[Percent, Meta(description="third reserve: only deliveries go on")] = 1
    third_bytes: Annotated[Bytes, Meta(description="third reserve in bytes")] = 1 * 10**9


class PlacesSettings(msgspec.Struct, frozen=True):
    """Where addresses are."""

    database: Annotated[
        str, Meta(description="City or Country file (.mmdb) for places of addresses; empty: none")
    ] = ""


class ExportSettings(msgspec.Struct, frozen=True):
    """Deliveries to destinations."""

    early: Annotated[
        bool, Meta(description="put finished partition files while their hour is still open")
    ] = True
    workers: Annotated[int, Meta(ge=1, le=64, description="deliveries at the same time")] = 4
    per_destination: Annotated[
        int, Meta(ge=1, le=64, description="deliveries of one destination at the same time")
    ] = 2
    private_endpoints: Annotated[
        bool, Meta(description="accept endpoint URLs on loopback and private addresses")
    ] = False
    ca_file: Annotated[
        str,
        Meta(description="certificates (PEM) to trust besides the public ones; empty: none"),
    ] = ""


class WebSettings(msgspec.Struct, frozen=True):
    """The pages."""

    parts_page: Annotated[
        bool, Meta(description="show /dev/parts, for those who work on the pages")
    ] = False


class Settings(msgspec.Struct, frozen=True):
    """Everything an operator may set."""

    public_url: Annotated[str, Meta(description="address of the pages, for links in mails")] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="networks whose X-Forwarded-For is believed, such as 10.0.0.0/8"),
    ] = ()
    aws: AwsSettings = AwsSettings()
    smtp: SmtpSettings = SmtpSettings()
    collect: CollectSettings = CollectSettings()
    log: LogSettings = LogSettings()
    process: ProcessSettings = ProcessSettings()
    seal: SealSettings = SealSettings()
    archive: ArchiveSettings = ArchiveSettings()
    disk: DiskSettings = DiskSettings()
    export: ExportSettings = ExportSettings()
    places: PlacesSettings = PlacesSettings()
    web: WebSettings = WebSettings()


class Setting(msgspec.Struct, frozen=True):
    """One setting as `tailrace settings` prints it."""

    key: str
    value: Any
    origin: str
    meaning: str


class Loaded(msgspec.Struct, frozen=True):
    """The settings and where each value comes from."""

    settings: Settings
    listing: tuple[Setting, ...]


class _Field(msgspec.Struct, frozen=True):
    key: str
    kind: Any
    default: Any
    meaning: str

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.key.replace(".", "_").upper()


def load(folder: Path, environment: Mapping[str, str]) -> Loaded:
    """Read the settings of a data folder; raise `BadSetting` that names the key and the rule."""
    fields = {field.key: field for field in _fields(Settings)}
    from_file = _read_file(folder / FILE_NAME, fields)
    from_environment = _read_environment(environment, fields)
    values: dict[str, Any] = {}
    listing = []
    for key, field in fields.items():
        if key in from_environment:
            value, origin = from_environment[key], f"environment {field.variable}"
        elif key in from_file:
            value, origin = from_file[key], FILE_NAME
        else:
            value, origin = field.default, "default"
        _put(values, key, value)
        listing.append(Setting(key, value, origin, field.meaning))
    settings = msgspec.convert(values, Settings)
    _check_together(settings)
    return Loaded(settings, tuple(listing))


def _fields(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[_Field]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        key = prefix + field.name
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _fields(hint, key + ".")
            continue
        meaning = next(
            (m.description for m in reversed(hint.__metadata__) if m.description is not None), ""
        )
        yield _Field(key, hint, field.default, meaning)


def _read_file(path: Path, fields: Mapping[str, _Field]) -> dict[str, Any]:
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSetting(f"Cannot read {path}: it is no valid TOML ({error}).") from error
    except OSError as error:
        raise BadSetting(f"Cannot read {path}: {error.strerror}.") from error
    values: dict[str, Any] = {}
    for key, value in _flatten(parsed):
        if key not in fields:
            raise BadSetting(
                f"{path}: there is no setting {key!r}. Run `tailrace settings` for the known ones."
            )
        values[key] = _convert(fields[key], value, f"{path}: {key}", strict=True)
    return values


def _read_environment(
    environment: Mapping[str, str], fields: Mapping[str, _Field]
) -> dict[str, Any]:
    by_variable = {field.variable: field for field in fields.values()}
    values: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _NOT_SETTINGS:
            continue
        field = by_variable.get(name)
        if field is None:
            raise BadSetting(
                f"The environment variable {name} names no setting. "
                "Run `tailrace settings` for the known ones."
            )
        value: Any = text
        if isinstance(field.default, tuple):
            value = [part.strip() for part in text.split(",") if part.strip()]
        values[field.key] = _convert(field, value, f"environment variable {name}", strict=False)
    return values


def _convert(field: _Field, value: Any, where: str, *, strict: bool) -> Any:
    try:
        converted = msgspec.convert(value, field.kind, strict=strict)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{where}: {value!r} is not allowed ({error}).") from error
    if field.key == "trusted_proxies":
        for network in converted:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise BadSetting(f"{where}: {network!r} is no network ({error}).") from error
    if field.key == "public_url" and converted:
        try:
            parts = urlsplit(converted)
        except ValueError as error:
            raise BadSetting(f"{where}: {converted!r} is no address ({error}).") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadSetting(f"{where}: {converted!r} is no http or https address.")
    if field.key == "smtp.host" and not _HOST.fullmatch(converted):
        raise BadSetting(
            f"{where}: {converted!r} is no name or address of a host. The port is smtp.port."
        )
    if field.key in {"smtp.sender", "smtp.operator"}:
        for address in (converted,) if isinstance(converted, str) else converted:
            _check_address(address, where)
    return converted


def _check_address(address: str, where: str) -> None:
    if not is_mailbox(address):
        raise BadSetting(
            f"{where}: {address!r} is no mail address. Write it as name@example.com, in ASCII."
        )


def _check_together(settings: Settings) -> None:
    disk = settings.disk
    for unit in ("percent", "bytes"):
        first, second, third = (
            getattr(disk, f"{name}_{unit}") for name in ("first", "second", "third")
        )
        if not first >= second >= third:
            raise BadSetting(
                f"disk.first_{unit}, disk.second_{unit} and disk.third_{unit} are {first}, "
                f"{second} and {third}: each reserve must be at least as large as the next."
            )
    smtp = settings.smtp
    if bool(smtp.username) != bool(smtp.password_file):
        raise BadSetting(
            "smtp.username and smtp.password_file go together: give both, or neither to send "
            "without signing in."
        )
    if smtp.username and smtp.security == "none" and smtp.host not in _LOOPBACK:
        raise BadSetting(
            'smtp.security is "none" with smtp.username: the password would go over the network '
            'in clear text. Use "starttls" or "tls".'
        )


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, name = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[name] = value
