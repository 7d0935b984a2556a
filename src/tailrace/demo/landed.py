"""What the bucket holds after the hour: its objects, the manifest, and a query over copies."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import msgspec

from tailrace.clock import Clock
from tailrace.demo.seaweed import Seaweed
from tailrace.errors import Transient
from tailrace.hours import Hour

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# The hour's marker is promised within 10 s; a busy machine gets more before the demo gives up.
_MARKER_SECONDS = 45

_QUERY = """
    select event_type as "event type",
           count(*) as events,
           count(distinct amplitude_id) as people,
           sum(try_cast(event_properties->>'revenue' as double)) as revenue
    from read_json(?, format = 'newline_delimited', columns = {
        event_type: 'varchar', amplitude_id: 'bigint', event_properties: 'json'})
    group by all order by events desc, event_type
"""
_COUNT = """
    select count(*), count(distinct insert_id)
    from (select "$insert_id" as insert_id from read_json(?, format = 'newline_delimited',
          columns = {'$insert_id': 'varchar'}))
"""


class Stored(msgspec.Struct, frozen=True):
    """One object of the bucket."""

    key: str
    size_bytes: int


class Table(msgspec.Struct, frozen=True):
    """A query's answer."""

    head: list[str]
    rows: list[tuple[object, ...]]


class Landed:
    """The demo's bucket, read as its owner would read it."""

    def __init__(self, server: Seaweed, bucket: str, prefix: str, project: int, hour: Hour) -> None:
        self._client: S3Client = server.client(server.owner)
        self._bucket = bucket
        self._prefix = prefix
        self._project = project
        self._hour = hour
        self._name = f"{project}/{project}_{hour.date}_{hour.of_day}"

    def wait_for_marker(
        self, clock: Clock, pause: Callable[[], None], show: Callable[[int], None]
    ) -> int:
        """Return how many microseconds after the hour's end its marker was seen.

        `pause` waits a moment between two looks; `show` is given the seconds until the hour's end.
        """
        marker = f"{self._prefix}{self._name}_complete"
        until = self._hour.end_micros + _MARKER_SECONDS * 1_000_000
        while (now := clock.now_micros()) < until:
            if now < self._hour.end_micros:
                show(round((self._hour.end_micros - now) / 1_000_000))
            elif self._client.list_objects_v2(Bucket=self._bucket, Prefix=marker)["KeyCount"]:
                return now - self._hour.end_micros
            pause()
        raise Transient(
            f"The hour's marker {marker} is not in the bucket {_MARKER_SECONDS} s after the "
            "hour's end."
        )

    def listing(self) -> list[Stored]:
        """Return every object of the bucket, in the order in which S3 lists them."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        found = itertools.chain.from_iterable(page.get("Contents", []) for page in pages)
        return [Stored(one["Key"], one["Size"]) for one in found]

    def of_hour(self) -> list[Stored]:
        """Return the objects of the hour's events: data files, manifest and marker."""
        return [stored for stored in self.listing() if self._is_of_hour(stored.key)]

    def _is_of_hour(self, key: str) -> bool:
        name = key.removeprefix(self._prefix).removeprefix("_manifests/")
        return name.startswith((f"{self._name}#", f"{self._name}.", f"{self._name}_"))

    def manifest(self) -> bytes:
        """Return the hour's manifest as it lies in the bucket."""
        key = f"{self._prefix}_manifests/{self._name}.json"
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def download(self, folder: Path) -> list[Path]:
        """Copy the hour's data files into `folder`."""
        copies = []
        for stored in self.listing():
            if stored.key.startswith(f"{self._prefix}{self._name}#"):
                path = folder / stored.key.rpartition("/")[2]
                self._client.download_file(self._bucket, stored.key, str(path))
                copies.append(path)
        return copies


def first_lines(copies: list[Path], count: int) -> list[str]:
    """Return the first lines of the first file."""
    with gzip.open(copies[0], "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in itertools.islice(lines, count)]


def ask(copies: list[Path]) -> Table:
    """Return events, people and revenue by event type, as DuckDB reads the files."""
    answer = duckdb.connect().execute(_QUERY, [[str(path) for path in copies]])
    return Table([column[0] for column in answer.description or ()], answer.fetchall())


def count(copies: list[Path]) -> tuple[int, int]:
    """Return the files' lines, and how many insert IDs are among them."""
    answer = duckdb.connect().execute(_COUNT, [[str(path) for path in copies]]).fetchone()
    if answer is None:
        return 0, 0
    return int(answer[0]), int(answer[1])
