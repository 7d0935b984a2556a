"""`make crowd`: two hundred clients with huge bodies at once against one real collector process.

Measures the process's anonymous memory, how long ordinary clients wait meanwhile, and whether the
log holds what was answered 200 exactly once, and nothing that was refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.children import Child
from benchmarks.places import Place, make_place
from fuzz.crowd_bodies import BIG_BYTES, KINDS, Kind, Request, SmallRequest
from tailrace.accounts.projects import add_project
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.log.reader import LogReader
from tailrace.state.database import open_database

MEBIBYTE = 1_048_576
# The bar of the architecture for the anonymous memory of a process (RssAnon).
MEMORY_BYTES_MAX = 300 * MEBIBYTE
CLIENTS = 200
# No key may hold more than half of the bytes in flight, so the crowd has several.
KEYS = 4
# Ordinary clients, each with one request under way, that go on while the crowd is there.
SMALL_CLIENTS = 4
SMALL_PAUSE_SECONDS = 0.05
SAMPLE_SECONDS = 0.01
# A body has 120 s, and discarding the rest of a refused one 10 s.
CLIENT_SECONDS_MAX = 200.0
ROUND_BYTES = 8 * MEBIBYTE
# Keys go stale after two seconds without a look, as on a machine that has no time for the process.
KEYS_UNREAD = "503 The API keys can't be read; try again later."
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_ANON = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)
_NAME = re.compile(rb'"insert_id":"(crowd-[0-9]+|small-[0-9]+)"')


class Crowd(msgspec.Struct, frozen=True):
    """What one run came to. Bytes and seconds; `answers` counts statuses by kind of client."""

    memory_before: int
    memory_peak: int
    memory_after: int
    seconds: float
    cpu_seconds: float
    answers: dict[str, dict[str, int]]
    small_waits: list[float]
    problems: list[str]


class _Sampler:
    """Keep the highest anonymous memory of a process, looked at every `SAMPLE_SECONDS`."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.peak = 0
        self._stop = threading.Event()
        # In a thread of its own: the clients keep their loop busy.
        self._thread = threading.Thread(target=self.watch)

    def now(self) -> int:
        found = _ANON.search(self._status.read_text())
        assert found is not None
        return int(found[1]) * 1024

    def watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.now())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


async def send(port: int, request: Request) -> str:
    """Send one request as its kind does; return the status, or `closed` for no answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.create_task(_pour(writer, request))
    try:
        async with asyncio.timeout(CLIENT_SECONDS_MAX):
            head = await reader.readuntil(b"\r\n\r\n")
        found = _STATUS.match(head)
        return found[1].decode() if found else "no HTTP"
    except (asyncio.IncompleteReadError, ConnectionError):
        return "closed"
    except TimeoutError:
        return "silent"
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()


async def _pour(writer: asyncio.StreamWriter, request: Request) -> None:
    # Without a limit the transport would keep a copy of what it has not sent yet.
    writer.transport.set_write_buffer_limits(65_536)
    for part, pause_seconds in request.parts():
        writer.write(part)
        await writer.drain()
        if pause_seconds:
            await asyncio.sleep(pause_seconds)
    if request.kind.leaves:
        writer.transport.abort()


async def _small_client(
    port: int, requests: list[SmallRequest], waits: list[float], answers: Counter[str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            began = time.perf_counter()
            writer.write(request.wire)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            body = json.loads(await reader.readexactly(int(length[1])))
            waits.append(time.perf_counter() - began)
            request.status = head[9:12].decode()
            answers[" ".join([request.status, body.get("detail", "")]).strip()] += 1
            await asyncio.sleep(SMALL_PAUSE_SECONDS)
    finally:
        writer.close()


class _Rush(msgspec.Struct):
    """What the clients saw."""

    waits: list[float]
    answers: dict[str, dict[str, int]]
    seconds: float


async def _rush(port: int, requests: list[Request], small: list[list[SmallRequest]]) -> _Rush:
    waits: list[float] = []
    small_answers: Counter[str] = Counter()
    smalls = [
        asyncio.create_task(_small_client(port, mine, waits, small_answers)) for mine in small
    ]
    began = time.perf_counter()
    statuses = await asyncio.gather(*(send(port, request) for request in requests))
    seconds = time.perf_counter() - began
    for task in smalls:
        task.cancel()
    for outcome in await asyncio.gather(*smalls, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    answers: dict[str, Counter[str]] = {"small": small_answers}
    for request, status in zip(requests, statuses, strict=True):
        request.status = status
        answers.setdefault(request.kind.name, Counter())[status] += 1
    return _Rush(sorted(waits), {name: dict(found) for name, found in answers.items()}, seconds)


def run(folder: Path, clients: int, big_bytes: int, kinds: tuple[Kind, ...] = KINDS) -> Crowd:
    """Start a collector on a new data folder in `folder`, send the crowd, read its log."""
    place = make_place(folder / "data")
    keys = [place.api_key, *_more_keys(place, KEYS - 1)]
    requests = [
        Request(number, kinds[number % len(kinds)], keys[number % KEYS], big_bytes)
        for number in range(clients)
    ]
    small = [
        [SmallRequest(client * 1_000_000 + number, keys[client % KEYS]) for number in range(20_000)]
        for client in range(SMALL_CLIENTS)
    ]
    for request in requests:
        request.prepare()
    with Child("collector", "benchmarks.serve_full", str(place.path)) as child:
        sampler = _Sampler(child.pid)
        before, used = sampler.now(), child.cpu_seconds()
        with sampler:
            rush = asyncio.run(_rush(child.port, requests, small))
        used, after = child.cpu_seconds() - used, sampler.now()
    stored = stored_names(DataFolder(place.path).log)
    problems = [
        *lies(stored, requests, [one for mine in small for one in mine]),
        *wrong_answers(requests, rush.answers),
    ]
    if sampler.peak >= MEMORY_BYTES_MAX:
        problems.append(f"{sampler.peak / MEBIBYTE:.0f} MiB of anonymous memory")
    return Crowd(
        before, sampler.peak, after, rush.seconds, used, rush.answers, rush.waits, problems
    )


def _more_keys(place: Place, count: int) -> list[str]:
    engine = open_database(DataFolder(place.path).database)
    try:
        clock = DataFolder(place.path).clock()
        return [
            add_project(
                engine, place.organization, f"Crowd {number}", ids=SystemIds(), clock=clock
            ).api_key
            for number in range(count)
        ]
    finally:
        engine.dispose()


def stored_names(log_folder: Path) -> Counter[str]:
    """Return how often the log holds each request of the crowd."""
    reader = LogReader(log_folder)
    stored: Counter[str] = Counter()
    try:
        for partition in reader.partitions():
            position = 0
            while entries := reader.read(partition, position, ROUND_BYTES):
                for entry in entries:
                    if entry.record is not None:
                        found = _NAME.search(entry.record.body)
                        stored["" if found is None else found[1].decode()] += 1
                position = entries[-1].next_position
    finally:
        reader.close()
    return stored


def lies(stored: Counter[str], requests: list[Request], small: list[SmallRequest]) -> list[str]:
    """Return what was acknowledged and isn't there once, or refused and is there."""
    problems: list[str] = []
    sent: list[Request | SmallRequest] = [*requests, *small]
    for one in sent:
        count = stored.pop(one.name, 0)
        if one.status == "200" and count != 1:
            problems.append(f"{one.name} was answered 200 and is in the log {count} times")
        elif one.status is not None and one.status.startswith(("4", "503")) and count:
            problems.append(f"{one.name} was answered {one.status} and is in the log")
        elif count > 1:
            problems.append(f"{one.name} is in the log {count} times")
    if stored:
        problems.append(f"the log holds what nobody sent: {list(stored)[:3]}")
    return problems


def wrong_answers(requests: list[Request], answers: dict[str, dict[str, int]]) -> list[str]:
    problems = [
        f"{request.name} ({request.kind.name}) was answered {request.status}"
        for request in requests
        if request.status not in request.kind.answers
    ]
    if not answers["small"].keys() <= {"200", KEYS_UNREAD}:
        problems.append(f"ordinary clients were answered {answers['small']}")
    if not answers["small"].get("200"):
        problems.append("no ordinary client was answered 200")
    if all(request.status != "200" for request in requests):
        problems.append("no big body at all was taken")
    return problems


def report(crowd: Crowd) -> str:
    """Return the figures as text."""
    lines = [
        f"anonymous memory: {crowd.memory_before / MEBIBYTE:.0f} MiB before, "
        f"{crowd.memory_peak / MEBIBYTE:.0f} MiB at most (under "
        f"{MEMORY_BYTES_MAX // MEBIBYTE}), {crowd.memory_after / MEBIBYTE:.0f} MiB afterwards",
        f"the crowd took {crowd.seconds:.1f} s, the collector {crowd.cpu_seconds:.1f} s of CPU",
    ]
    waits = crowd.small_waits
    if waits:
        lines.append(
            f"ordinary clients: {len(waits)} requests, waited {waits[len(waits) // 2] * 1000:.0f} "
            f"ms (median), {waits[int(len(waits) * 0.99)] * 1000:.0f} ms (99 of 100), "
            f"{waits[-1] * 1000:.0f} ms at most"
        )
    for name, statuses in sorted(crowd.answers.items()):
        told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
        lines.append(f"  {name:14} {told}")
    return "\n".join([*lines, *(f"PROBLEM: {problem}" for problem in crowd.problems[:20])])


def main() -> None:
    """Run it once or more; exit 1 with any problem."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.crowd", description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--bytes", type=int, default=BIG_BYTES, help="of each big body")
    parser.add_argument("--kinds", help="a comma-separated choice of kinds")
    parser.add_argument("--folder", help="a folder on the disk to use (default: TMPDIR)")
    given = parser.parse_args()
    names = given.kinds.split(",") if given.kinds else [kind.name for kind in KINDS]
    kinds = tuple(kind for kind in KINDS if kind.name in names)
    with tempfile.TemporaryDirectory(prefix="tailrace-crowd-", dir=given.folder) as folder:
        crowd = run(Path(folder), given.clients, given.bytes, kinds)
    print(report(crowd))
    sys.exit(1 if crowd.problems else 0)


if __name__ == "__main__":
    main()
