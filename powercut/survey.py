"""Tries every folder that a cut could leave, step by step, and tells which promises broke.

Each distinct folder is tried once with the same promises, over all surveys that share a `Judge`:
where a sync is left out, only what could not be left with it is new.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from powercut.aftermath import prove
from powercut.cuts import Cut, cuts
from powercut.disk import digest_of, write_image
from powercut.outside import Promises
from powercut.replay import Step
from powercut.tracing import Trace, play

# Failures kept for the report; the rest is counted.
FAILURES_KEPT = 20


class Failure(msgspec.Struct, frozen=True):
    """A cut after which a promise did not hold."""

    step: Step
    cut: str
    error: str

    def __str__(self) -> str:
        return f"after step {self.step.number} ({self.step.what}), {self.cut}: {self.error}"


class Report(msgspec.Struct):
    """What a survey found. `asked` counts the syncs by the site that asked for them."""

    steps: int = 0
    cuts: int = 0
    tried: int = 0
    failed: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)
    asked: Counter[str] = msgspec.field(default_factory=Counter)


class Judge:
    """Recovers folders in a scratch folder, each distinct one once."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._sound: set[bytes] = set()

    def is_known(self, digest: bytes) -> bool:
        """Whether this folder needs no look: its promises held before, or it is taken for sound."""
        return digest in self._sound

    def take_for_sound(self, traced: Trace, seed: int) -> None:
        """Look at nothing that a cut could leave with all syncs: that is another survey's work."""
        promises = Promises()
        for replay, step in play(traced):
            if step.mark is not None:
                promises.take(step.mark)
            for cut in cuts(replay.disk, chance(seed, step)):
                self._sound.add(digest_of(cut.image, promises.version))

    def judge(self, cut: Cut, digest: bytes, promises: Promises) -> str | None:
        """Return what went wrong on this folder; None if every promise held."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        write_image(cut.image, self._scratch)
        try:
            # Either part may come up first; which one it is here follows from the folder.
            prove(self._scratch / "data", promises, processor_first=digest[0] % 2 == 0)
        except Exception as error:
            # Whatever stops recovery is what is looked for.
            return f"{type(error).__name__}: {error}"
        self._sound.add(digest)
        return None


def survey(
    traced: Trace,
    judge: Judge,
    *,
    seed: int,
    without: str = "",
    failures_max: int = FAILURES_KEPT,
    wanted: Callable[[Step, Cut, random.Random], bool] = lambda step, cut, picking: True,
) -> Report:
    """Try the cuts at every step, as if the syncs of the site `without` were not there.

    Stops after `failures_max` failures. `wanted` may leave cuts out.
    """
    report, promises = Report(), Promises()
    picking = random.Random(seed)
    for replay, step in play(traced, without):
        report.asked = replay.asked
        if step.mark is not None:
            promises.take(step.mark)
        report.steps += 1
        for cut in cuts(replay.disk, chance(seed, step)):
            report.cuts += 1
            digest = digest_of(cut.image, promises.version)
            if judge.is_known(digest) or not wanted(step, cut, picking):
                continue
            report.tried += 1
            error = judge.judge(cut, digest, promises)
            if error is not None:
                report.failed += 1
                if len(report.failures) < FAILURES_KEPT:
                    report.failures.append(Failure(step, cut.name, error))
                if report.failed >= failures_max:
                    return report
    return report


def chance(seed: int, step: Step) -> random.Random:
    """Return the chance of a step, the same in every survey of a seed."""
    return random.Random(f"{seed} {step.number}")
