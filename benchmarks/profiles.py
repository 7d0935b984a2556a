"""Where the hot path's CPU goes: samples of the main thread, by module, function and line.

The kernel's profiling timer counts CPU time, so other load does not show, and the code runs at
nearly full speed. A signal waits for the end of a built-in function, so each sample weighs the
CPU time since the one before; it counts for the line that called.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeVar

import msgspec

T = TypeVar("T")

INTERVAL_SECONDS = 0.001  # kernels round it up to their tick, 1 to 4 ms
TOP = 40  # lines listed; what follows is below one percent


class Sample(msgspec.Struct, frozen=True):
    """Where the main thread was: a line, and the function and module that hold it."""

    module: str
    function: str
    line: int


class Sampler:
    """Weighs samples between `start` and `stop`; call both in the main thread."""

    def __init__(self) -> None:
        self._nanos: Counter[tuple[CodeType, int]] = Counter()
        self._last = 0

    def start(self) -> None:
        """Begin to sample."""
        self._last = time.process_time_ns()
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)

    def stop(self) -> Counter[Sample]:
        """End sampling; return the CPU nanoseconds of each place."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        samples: Counter[Sample] = Counter()
        for (code, line), nanos in self._nanos.items():
            samples[Sample(_module(code.co_filename), code.co_qualname, line)] += nanos
        return samples

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = time.process_time_ns()
        if frame is not None:
            self._nanos[frame.f_code, frame.f_lineno] += now - self._last
        self._last = now


def sampled(work: Callable[[], T]) -> tuple[T, Counter[Sample]]:
    """Run `work` in the main thread; return its result and the samples."""
    sampler = Sampler()
    sampler.start()
    try:
        result = work()
    finally:
        samples = sampler.stop()
    return result, samples


def describe(samples: Counter[Sample], title: str) -> str:
    """Return a text: shares by module, by function and by line, the largest first."""
    modules: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for sample, nanos in samples.items():
        modules[sample.module] += nanos
        functions[f"{sample.module} {sample.function}"] += nanos
        lines[f"{sample.module}:{sample.line} {sample.function}"] += nanos
    total = samples.total()
    text = [title, f"{total / 1e9:.2f} s of CPU sampled"]
    for name, counts in (("module", modules), ("function", functions), ("line", lines)):
        text += ["", f"share  {name}"]
        text += [f"{nanos / total:5.1%}  {what}" for what, nanos in counts.most_common(TOP)]
    return "\n".join(text) + "\n"


def _module(file: str) -> str:
    parts = Path(file).with_suffix("").parts
    for root in ("tailrace", "benchmarks", "site-packages"):
        if root in parts:
            at = len(parts) - 1 - parts[::-1].index(root)
            return ".".join(parts[at + (root == "site-packages") :])
    return parts[-1] if parts else file
