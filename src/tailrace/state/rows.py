"""Turn the tables' rows into the types of `sealed` and `delivery`, and back."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.engine import Row

from tailrace.hours import Hour
from tailrace.state.delivery import (
    Capabilities,
    Cause,
    Delivery,
    Destination,
    ManualExport,
    Try,
)
from tailrace.state.sealed import SealedFile

# Of a run whose schedule of tries begins anew.
UNTRIED: dict[str, Any] = {"attempts": 0, "refusals": 0}

_cause_decoder = msgspec.json.Decoder(Cause)
_tries_decoder = msgspec.json.Decoder(tuple[Try, ...])
_capabilities_decoder = msgspec.json.Decoder(Capabilities)


def file_of(row: Row[Any]) -> SealedFile:
    """Return a row of `sealed_file`."""
    return SealedFile(
        scope=row.scope,
        hour=Hour(row.hour),
        number=row.number,
        name=row.name,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        crc32=row.crc32,
        lines=row.lines,
        raw_bytes=row.raw_bytes,
    )


def values_of_file(file: SealedFile) -> dict[str, Any]:
    """Return what a row of `sealed_file` says of the file itself."""
    return {
        "scope": file.scope,
        "hour": file.hour.number,
        "number": file.number,
        "name": file.name,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "crc32": file.crc32,
        "lines": file.lines,
        "raw_bytes": file.raw_bytes,
    }


def delivery_of(row: Row[Any]) -> Delivery:
    """Return a row of `delivery` as a worker holds it."""
    return Delivery(
        destination_id=row.destination_id,
        data_type=row.data_type,
        scope=row.scope,
        hour=Hour(row.hour),
        lease=row.lease,
        attempts=row.attempts,
        refusals=row.refusals,
        upload_key=row.upload_key,
        upload_id=row.upload_id,
        manual_export=row.manual_export,
        tries=tries_of(row.tries),
    )


def manual_export_of(row: Row[Any]) -> ManualExport:
    """Return a row of `manual_export`."""
    return ManualExport(
        id=row.id,
        destination_id=row.destination_id,
        from_hour=Hour(row.from_hour),
        until_hour=Hour(row.until_hour),
        events_until=hour_of(row.events_until),
        merged_ids_until=hour_of(row.merged_ids_until),
        overwrite=row.overwrite,
        state=row.state,
        created_by=row.created_by,
        created_micros=row.created_micros,
        finished_micros=row.finished_micros,
    )


def destination_of(row: Row[Any]) -> Destination:
    """Return a row of `destination`."""
    return Destination(
        id=row.id,
        organization=row.organization,
        project=row.project,
        kind=row.kind,
        name=row.name,
        bucket=row.bucket,
        region=row.region,
        prefix=row.prefix,
        endpoint_url=row.endpoint_url,
        access_key_id=row.access_key_id,
        secret_encrypted=row.secret_encrypted,
        role_arn=row.role_arn,
        external_id=row.external_id,
        include_events=row.include_events,
        include_merged_ids=row.include_merged_ids,
        manifest=row.manifest,
        marker=row.marker,
        state=row.state,
        from_hour=hour_of(row.from_hour),
        until_hour=hour_of(row.until_hour),
        capabilities=capabilities_of(row.capabilities),
        created_micros=row.created_micros,
        outage_since_micros=row.outage_since_micros,
        outage_cause=cause_of(row.outage_cause),
        next_probe_micros=row.next_probe_micros,
        paused_micros=row.paused_micros,
        deleted_micros=row.deleted_micros,
        encryption=row.encryption,
        kms_key_arn=row.kms_key_arn,
    )


def hour_of(number: int | None) -> Hour | None:
    """Return the hour of a column that may be empty."""
    return None if number is None else Hour(number)


def cause_of(text: str | None) -> Cause | None:
    """Return the cause of a column that may be empty."""
    return None if text is None else _cause_decoder.decode(text)


def values_of_cause(cause: Cause | None) -> dict[str, Any]:
    """Return what a row of `delivery` says of why its run did not succeed."""
    if cause is None:
        return {"cause": None, "fault_code": None}
    fault_code = cause.code if cause.kind == "operator" else None
    return {"cause": text_of(cause), "fault_code": fault_code}


def tries_of(text: str | None) -> tuple[Try, ...]:
    """Return the tries of a column that may be empty."""
    return () if text is None else _tries_decoder.decode(text)


def capabilities_of(text: str | None) -> Capabilities | None:
    """Return the capabilities of a column that may be empty."""
    return None if text is None else _capabilities_decoder.decode(text)


def text_of(value: Cause | Capabilities | tuple[Try, ...]) -> str:
    """Return the JSON text under which a value is stored."""
    return msgspec.json.encode(value).decode()
