"""The short form of `make torture`, and what makes both forms worth believing.

A run takes about a minute: a service has to live through half a day, thirty kills and their
restarts. `make torture` does a thousand, and has to kill at every point.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tailrace.demo import seaweed
from tailrace.ids import SystemIds
from torture.defects import DEFECTS, Defect, broken_source
from torture.points import kill_points
from torture.report import table
from torture.run import Options, torture

KILLS = 30
# An hour of the service in ten seconds.
RATE = 360
# On a busy machine there are fewer kills instead of a longer test.
SECONDS_MAX = 45.0


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_still_has_its_place_in_the_source(defect: Defect, tmp_path: Path) -> None:
    source = broken_source(defect, tmp_path)
    for name, _, _ in defect.changes:
        path = source / "tailrace" / name
        compile(path.read_text(encoding="utf-8"), name, "exec")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by Linux's /proc")
@pytest.mark.skipif(seaweed.find_program() is None, reason="there is no local S3 server here")
def test_thirty_kills_lose_and_double_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int.from_bytes(SystemIds().random_bytes(4), "big")
    print(f"seed {seed}")
    result = torture(Options(kills=KILLS, seed=seed, rate=RATE, seconds_max=SECONDS_MAX), print)
    print(table(result))
    assert result.faults == []
    assert result.sums.acknowledged


def test_every_kill_point_of_the_source_is_known() -> None:
    points = kill_points()
    assert {"log.synced", "pack.renamed", "seal.file.durable", "file.written"} <= set(points)


def test_a_kill_point_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text('killpoints.reached("log." + "new")\n')
    with pytest.raises(ValueError, match="1 calls"):
        kill_points(tmp_path)
