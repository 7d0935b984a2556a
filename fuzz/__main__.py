"""`make fuzz`: hunt with each target for a bounded time, and print what came of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from fuzz.targets import CORPUS, NAMES, corpus_of

SECONDS = 60
RESULTS = Path("fuzz-results")
# What an SDK sends at once is smaller, and longer inputs make each step slower.
INPUT_BYTES_MAX = 4096
# One input: longer than this is a finding, and so is more memory for all of them.
INPUT_SECONDS_MAX = 20
MEMORY_MEBIBYTES_MAX = 2048
# After its time a hunt may still be in the middle of an input, and has its result to write.
GRACE_SECONDS = 120

_COVERED = re.compile(r"cov: (\d+)")
_RAN = re.compile(r"stat::number_of_executed_units: +(\d+)")


class Hunt(msgspec.Struct, frozen=True):
    """What one hunt came to. `covered_*` count the branches of tailrace that were taken."""

    name: str
    executions: int
    covered_before: int
    covered_after: int
    finding: str | None


def hunt(name: str, seconds: int) -> Hunt:
    """Hunt in a process of its own; new inputs and a finding's are kept under `RESULTS`."""
    grown, found = RESULTS / "corpus" / name, RESULTS / "findings" / name
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tailrace-fuzz-") as scratch:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "fuzz.hunt", name, str(grown), str(CORPUS / name)),
                f"-max_total_time={seconds}",
                f"-max_len={INPUT_BYTES_MAX}",
                f"-timeout={INPUT_SECONDS_MAX}",
                f"-rss_limit_mb={MEMORY_MEBIBYTES_MAX}",
                f"-artifact_prefix={found}/",
                f"-dict={Path(__file__).parent / 'words.dict'}",
                "-print_final_stats=1",
            ],
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            timeout=seconds + GRACE_SECONDS,
            check=False,
            env={**os.environ, "TMPDIR": scratch},
        )
    told = done.stdout.decode("utf-8", "replace")
    (RESULTS / f"{name}.txt").write_text(told)
    return outcome(name, told, done.returncode)


def outcome(name: str, told: str, code: int) -> Hunt:
    """Read what a hunt said; one that ran nothing, or saw no branch of tailrace, is a finding."""
    covered = [int(number) for number in _COVERED.findall(told)] or [0]
    ran = _RAN.search(told)
    executions = 0 if ran is None else int(ran[1])
    finding = None if code == 0 else _reason(told)
    if finding is None and not (executions and max(covered)):
        finding = f"nothing was hunted:\n{_reason(told)}"
    return Hunt(name, executions, covered[0], max(covered), finding)


def _reason(told: str) -> str:
    """Return the exception with its traceback, or the end of what was said."""
    start = told.rfind("=== Uncaught Python exception: ===")
    lines = (told[start:] if start >= 0 else told).splitlines()
    lines = lines[:40] if start >= 0 else lines[-20:]
    where = re.search(r"Test unit written to (\S+)", told)
    return "\n".join([*lines, "" if where is None else f"the input: {where[1]}"])


def main() -> None:
    """Hunt with all targets or one; exit 1 for a finding."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("--only", choices=NAMES, action="append", help="a target (repeatable)")
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(
            "Fuzzing is left out: it needs atheris, which has wheels for Linux on x86-64 with "
            "CPython 3.11 to 3.13 only. The saved inputs are run by `make test`."
        )
        return
    failed = False
    print(f"{'target':10} {'saved':>5} {'executions':>10} {'branches':>13}  finding")
    for name in given.only or NAMES:
        done = hunt(name, given.seconds)
        branches = f"{done.covered_before} > {done.covered_after}"
        print(
            f"{name:10} {len(corpus_of(name)):5} {done.executions:10} {branches:>13}  "
            f"{'none' if done.finding is None else 'FOUND'}",
            flush=True,
        )
        if done.finding is not None:
            failed = True
            print(done.finding)
    print(f"What each hunt said, its inputs and findings are in {RESULTS}.")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
