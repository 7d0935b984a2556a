"""What a run prints and writes: a table of figures, the bars, and `bench-results/*.json`."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.paired import Figure
from tailrace.clock import Clock, to_datetime

_PACKAGES = ("isal", "msgspec", "uvicorn", "uvloop", "httptools", "sqlalchemy", "boto3")


class Bar(msgspec.Struct, frozen=True):
    """A limit that a figure should keep; `most` is an upper limit, otherwise a lower one."""

    figure: str
    limit: float
    most: bool
    note: str = ""


class Machine(msgspec.Struct, frozen=True):
    """Where the figures come from; `load` is the one-minute load average at the end."""

    python: str
    system: str
    processors: int
    load: float
    packages: dict[str, str]


class Report(msgspec.Struct, frozen=True):
    """One run."""

    taken_at: str
    machine: Machine
    figures: list[Figure]
    bars: list[Bar]
    remarks: list[str]


def machine() -> Machine:
    """Describe this machine."""
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        packages={name: version(name) for name in _PACKAGES},
    )


def table(report: Report) -> str:
    """Return the figures and the bars as text for a terminal."""
    lines = ["", f"{'measure':<62}{'median':>12}{'lowest':>12}{'highest':>12}  unit"]
    lines += [
        f"{one.name:<62}{_number(one.median):>12}{_number(one.lowest):>12}"
        f"{_number(one.highest):>12}  {one.unit}"
        for one in report.figures
    ]
    medians = {one.name: one.median for one in report.figures}
    if report.bars:
        lines += ["", f"{'bar':<62}{'measured':>12}{'bar':>12}"]
    for bar in report.bars:
        value = medians.get(bar.figure)
        limit = ("<= " if bar.most else ">= ") + _number(bar.limit)
        if value is None:
            # A bar that nothing is held against must not look like one that is met.
            lines.append(f"{bar.figure:<62}{'-':>12}{limit:>12}  not measured")
            continue
        word = "met" if is_met(bar, value) else "missed"
        lines.append(f"{bar.figure:<62}{_number(value):>12}{limit:>12}  {word} {bar.note}".rstrip())
    lines += ["", *report.remarks] if report.remarks else []
    return "\n".join(lines)


def is_met(bar: Bar, value: float) -> bool:
    """Say whether a value keeps the bar."""
    return value <= bar.limit if bar.most else value >= bar.limit


def write(report: Report, folder: Path) -> Path:
    """Write the run as JSON into the folder, under its time; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.taken_at.replace(':', '-')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return path


def taken_at(clock: Clock) -> str:
    """Return the present second, as a report names its time."""
    return f"{to_datetime(clock.now_micros()):%Y-%m-%dT%H:%M:%SZ}"


def progress(text: str) -> None:
    """Say on standard error what is being measured now."""
    print(text, file=sys.stderr, flush=True)


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
