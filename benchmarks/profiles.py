"""Where the hot path's time goes: own time by module and by function, from cProfile.

cProfile adds its own cost to every call, so read the order and the shares, not the seconds.
"""

from __future__ import annotations

import pstats
from collections import defaultdict
from pathlib import Path
from typing import Any

TOP = 40  # functions listed; what follows is below one percent

_BUILT_IN = "~"


def describe(stats: pstats.Stats, events: int) -> str:
    """Return a text: own time by module, then the functions with the most own time."""
    entries: dict[Any, Any] = stats.stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in entries.values())
    lines = [f"{events} events, {total / events * 1e6:.2f} us each under the profiler", ""]
    lines += [f"{'us/event':>9}{'share':>7}  module, with the built-in functions that it calls"]
    shares = by_module(entries)
    for name in sorted(shares, key=shares.__getitem__, reverse=True):
        if shares[name] >= total / 200:
            lines.append(_line(shares[name], total, events, name))
    lines += ["", f"{'us/event':>9}{'share':>7}{'calls':>8}  function, own time"]
    functions = sorted(entries.items(), key=lambda item: item[1][2], reverse=True)
    for function, (_, calls, own, _, _) in functions[:TOP]:
        name = f"{calls / events:6.2f}  {_module(function[0])}:{function[1]} {function[2]}"
        lines.append(_line(own, total, events, name))
    return "\n".join(lines) + "\n"


def by_module(entries: dict[Any, Any]) -> dict[str, float]:
    """Sum own seconds by module; a built-in function's go to the modules that call it."""
    shares: dict[str, float] = defaultdict(float)
    for (file, _, name), (_, _, own, _, callers) in entries.items():
        if file != _BUILT_IN or not callers:
            shares[_module(file) if file != _BUILT_IN else name] += own
            continue
        for (caller, _, _), (_, _, part, _) in callers.items():
            shares[_module(caller)] += part
    return dict(shares)


def write(profile: Path, text: Path, events: int) -> None:
    """Turn a profiler's file into the text beside it."""
    text.write_text(describe(pstats.Stats(str(profile)), events))


def _line(seconds: float, total: float, events: int, name: str) -> str:
    return f"{seconds / events * 1e6:9.3f}{seconds / total:7.1%}  {name}"


def _module(file: str) -> str:
    if file == _BUILT_IN:
        return "(built in)"
    parts = Path(file).with_suffix("").parts
    for root in ("tailrace", "benchmarks", "site-packages"):
        if root in parts:
            at = len(parts) - 1 - parts[::-1].index(root)
            return ".".join(parts[at + (root == "site-packages") :])
    return parts[-1]
