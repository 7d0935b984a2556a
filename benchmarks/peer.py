"""One export, as a program of its own: `python -m benchmarks.peer WAY` with a `Task` on stdin.

Run by `benchmarks.peers`: the start of each engine, its threads and its memory count as its users
meet them. Imports stand in the functions, so that no way pays for another's.
"""

from __future__ import annotations

import functools
import importlib
import resource
import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

# What each engine is told; ClickHouse and Polars start more all the same, so CPU is what counts.
THREADS = 1
# These columns hold JSON objects.
OBJECTS = ("group_properties", "user_properties", "groups", "event_properties", "data")


class Upload(msgspec.Struct, frozen=True):
    """Where the ways that upload do so."""

    endpoint_url: str
    region: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    prefix: str


class File(msgspec.Struct, frozen=True):
    """A sealed file, with what the ledger knows of it."""

    path: str
    size_bytes: int
    sha256: str
    crc32: int


class Task(msgspec.Struct, frozen=True):
    """What is exported: the sealed files, the same events as Parquet, and where results go."""

    files: tuple[File, ...]
    typed_parquet: str
    text_parquet: str
    target: str
    upload: Upload


def duckdb(task: Task) -> None:
    """Let DuckDB copy its Parquet file, with columns of JSON, to gzip JSON lines."""
    import duckdb as engine

    connection = engine.connect(config={"threads": THREADS})
    connection.execute(
        f"COPY (FROM read_parquet('{task.typed_parquet}')) TO '{task.target}' "
        "(FORMAT json, COMPRESSION gzip)"
    )


def polars(task: Task) -> None:
    """Let Polars sink the Parquet file, with objects as text, into gzip JSON lines."""
    engine: Any = importlib.import_module("polars")
    engine.scan_parquet(task.text_parquet).sink_ndjson(
        task.target, compression="gzip", check_extension=False
    )


def clickhouse(task: Task) -> None:
    """Let ClickHouse read the Parquet file, its text as JSON, and write gzip JSON lines."""
    engine: Any = importlib.import_module("chdb")
    columns = ", ".join(f"CAST({name}, 'JSON') AS {name}" for name in OBJECTS)
    answer = engine.query(
        f"INSERT INTO FUNCTION file('{task.target}', 'JSONEachRow', 'auto', 'gzip') "
        f"SELECT * REPLACE ({columns}) FROM file('{task.text_parquet}', 'Parquet') "
        f"SETTINGS max_threads = {THREADS}, output_format_json_quote_64bit_integers = 0"
    )
    if answer.has_error():
        raise RuntimeError(answer.error_message())


def copy(task: Task) -> None:
    """Copy the sealed files: what a second export of the same hour costs beside its upload."""
    Path(task.target).mkdir(exist_ok=True)
    for file in task.files:
        shutil.copy(file.path, task.target)


def upload(task: Task) -> None:
    """Upload the sealed files as boto3 does it when asked to."""
    import boto3

    to = task.upload
    client = boto3.client(
        "s3",
        region_name=to.region,
        endpoint_url=to.endpoint_url,
        aws_access_key_id=to.access_key_id,
        aws_secret_access_key=to.secret_access_key,
    )
    for file in task.files:
        client.upload_file(file.path, to.bucket, to.prefix + Path(file.path).name)


def deliver(task: Task) -> None:
    """Put the sealed files as the exporter does: only if absent, with their checksums."""
    from benchmarks.delivery import FreeHold
    from tailrace.clock import SystemClock
    from tailrace.export.bucket import put_if_absent
    from tailrace.export.client import Clients, ClientSettings
    from tailrace.export.objects import Item, store_of
    from tailrace.state.delivery import Capabilities, Destination

    to = task.upload
    able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    destination = Destination(
        id=1,
        organization=1,
        project=1,
        kind="amazon-s3",
        name="Amazon S3",
        bucket=to.bucket,
        region=to.region,
        prefix=to.prefix,
        endpoint_url=to.endpoint_url,
        access_key_id=to.access_key_id,
        secret_encrypted=to.secret_access_key.encode(),
        role_arn=None,
        external_id=None,
        include_events=True,
        include_merged_ids=False,
        manifest=True,
        marker=True,
        state="active",
        from_hour=None,
        until_hour=None,
        capabilities=able,
        created_micros=0,
    )
    clients = Clients(ClientSettings(private_endpoints=True), bytes.decode, SystemClock())
    store = store_of(clients.of(destination), destination)
    for file in task.files:
        path = Path(file.path)
        item = Item(
            key=to.prefix + path.name,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            crc32=file.crc32,
            open=functools.partial(_open, path),
        )
        put_if_absent(store, item, FreeHold())


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def peak_bytes() -> int:
    """Return the most memory that this program held; what its parent held does not count."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [one for one in status.read_text().splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def main() -> None:
    """Do one export, and print the most memory that it took."""
    ways = {one.__name__: one for one in (duckdb, polars, clickhouse, copy, upload, deliver)}
    ways[sys.argv[1]](msgspec.json.decode(sys.stdin.buffer.read(), type=Task))
    print(peak_bytes())


if __name__ == "__main__":
    main()
