"""One log processed twice, in peace and under kills, must come to the same.

`python -m torture.alike` does it for many histories, `make test` for a short one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from tailrace.ids import SystemIds
from torture.history import History, Written
from torture.lives import Lives
from torture.outcome import Outcome, check_left_over, outcome_of
from torture.points import kill_points

# Where no processor comes by, or one only once in a folder's life.
ELSEWHERE = ("age.", "clock_accepted.", "collect.", "export.", "log.", "partitions.", "secrets.")
DELIVERING = ("ledger.file_delivered", "ledger.succeeded")
# Files put whole without a name of their own: the clock's and the places', before the first record.
UNNAMED = "file."

# A project-hour's files: one, so that the files are comparable one by one; or several.
WHOLE_HOURS, SMALL_FILES = 64 * 1024**2, 6_000
REQUESTS = 400
DIFFERENCE_CHARACTERS = 300


class Result(msgspec.Struct, frozen=True):
    """What one comparison came to."""

    seed: int
    requests: int
    points: dict[str, int]
    at_random: int
    totals: dict[str, int]
    files: int

    @property
    def kills(self) -> int:
        """How many processors died."""
        return sum(self.points.values()) + self.at_random


def processing_points() -> list[str]:
    """Return the kill points of processing and sealing."""
    outside = (*ELSEWHERE, *DELIVERING, UNNAMED)
    return [point for point in kill_points() if not point.startswith(outside)]


def compare(folder: Path, seed: int, requests: int, kills_max: int) -> Result:
    """Process a history in peace and under at most so many kills; raise `AssertionError`.

    Odd seeds make several files of an hour. Both ways then process what shows the state they left.
    """
    chance = random.Random(seed)
    whole = seed % 2 == 0
    history = History(folder / "log", seed, WHOLE_HOURS if whole else SMALL_FILES)
    written = history.write(requests)
    assert set(written.answers) == {200}, f"some of it was refused: {written.answers}"
    peaceful, killed = folder / "peaceful", folder / "killed"
    for copy in (peaceful, killed):
        shutil.copytree(history.folder.path, copy)
    with Lives(chance, processing_points()) as lives:
        lives.live(peaceful, written.last_hour)
        lives.die(killed, written.last_hour, kills_max)
        first = _same(peaceful, killed, whole=whole, written=written)
        before = _contents(history.folder.log)
        probed = history.probe()
        for copy in (peaceful, killed):
            _take_over(history.folder.log, before, copy / "log")
            lives.live(copy, probed.last_hour)
    both = _same(peaceful, killed, whole=whole, written=None)
    assert both.totals()["accepted"] == written.events + probed.events
    check_left_over(killed)
    return Result(
        seed=seed,
        requests=sum(written.answers.values()),
        points=dict(lives.points),
        at_random=lives.at_random,
        totals=first.totals(),
        files=sum(map(len, first.files.values())),
    )


def _same(peaceful: Path, killed: Path, *, whole: bool, written: Written | None) -> Outcome:
    """Compare two folders; return what both came to."""
    one, other = outcome_of(peaceful), outcome_of(killed)
    for name in ("counts", "lines", "merged", "tables") + (("files",) if whole else ()):
        difference = _difference(getattr(one, name), getattr(other, name))
        assert difference is None, f"{name} differ under kills: {difference}"
    if written is not None:
        assert one.totals()["accepted"] == written.events
    return one


def _difference(one: dict[object, object], other: dict[object, object]) -> str | None:
    """Return the first thing in which two outcomes differ, short enough to be read."""
    if list(one) != list(other):
        return f"{sorted(map(str, one.keys() ^ other.keys()))} are in one of them only"
    for key, value in one.items():
        found = other[key]
        if value == found:
            continue
        if isinstance(value, list) and isinstance(found, list):
            pairs = [pair for pair in zip(value, found, strict=False) if pair[0] != pair[1]]
            here = _around(*map(str, pairs[0])) if pairs else ""
            return f"{key}: {len(value)} and {len(found)}, {len(pairs)} differ, first {here}"
        return f"{key}: {_around(str(value), str(found))}"
    return None


def _around(one: str, other: str) -> str:
    """Return where two texts part, and what is before and behind it."""
    at = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    before, behind = max(0, at - DIFFERENCE_CHARACTERS), at + DIFFERENCE_CHARACTERS
    return f"…{one[before:behind]}…\nis not\n…{other[before:behind]}…"


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _take_over(log: Path, before: dict[Path, bytes], copy: Path) -> None:
    """Bring into a copy of a log what was written since; what the copy gave up stays so."""
    for path, content in _contents(log).items():
        if before.get(path) != content:
            (copy / path.relative_to(log)).write_bytes(content)


def many(kills: int, seed: int, requests: int, tell: Callable[[str], None]) -> list[Result]:
    """Compare one history after the other until so many processors died."""
    results: list[Result] = []
    while (died := sum(result.kills for result in results)) < kills:
        number = seed + len(results)
        with tempfile.TemporaryDirectory(prefix="tailrace-alike-") as folder:
            result = compare(Path(folder), number, requests, kills - died)
        tell(f"history {number}: {result.kills} kills, {result.totals}")
        results.append(result)
    return results


def main() -> None:
    """Compare until enough died; an error ends it with the seed of its history."""
    parser = argparse.ArgumentParser(prog="python -m torture.alike", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many in all")
    parser.add_argument("--seed", type=int, help="the first history's (default: drawn)")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="how long each is")
    given = parser.parse_args()
    seed = given.seed
    if seed is None:
        seed = int.from_bytes(SystemIds().random_bytes(4), "big")
    print(f"first seed {seed}", flush=True)
    began = time.monotonic()
    results = many(given.kills, seed, given.requests, lambda line: print(line, flush=True))
    points: Counter[str] = Counter()
    for result in results:
        points.update(result.points)
    died = sum(result.kills for result in results)
    print(f"{len(results)} histories, {died} kills, {time.monotonic() - began:.0f} s: all alike")
    print(f"at random {sum(result.at_random for result in results)}")
    for point, count in sorted(points.items()):
        print(f"{point:22} {count}")


if __name__ == "__main__":
    main()
