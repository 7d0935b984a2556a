"""A history of devices and users comes to the same, however often its processors are killed.

The short form is one history and a dozen kills, the long one (`TAILRACE_LONG=1`) hundreds of kills
in many; `python -m torture.alike` goes on as long as it is told to.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tailrace.ids import SystemIds
from torture.alike import compare, many, processing_points

LONG = os.environ.get("TAILRACE_LONG") == "1"
LONG_KILLS = 400
KILLS, REQUESTS = 12, 80
COUNTED = ("exported", "duplicates", "identifies", "held", "merges")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the processor time of a child"),
]


def drawn_seed() -> int:
    """Return a seed that a failing test shows."""
    seed = int.from_bytes(SystemIds().random_bytes(4), "big")
    print(f"seed {seed}")
    return seed


@pytest.mark.skipif(LONG, reason="the long form does it more often")
def test_a_history_under_kills_differs_in_processed_time_alone(tmp_path: Path) -> None:
    result = compare(tmp_path, drawn_seed(), REQUESTS, KILLS)
    assert result.kills > KILLS // 4
    assert all(result.totals[name] for name in COUNTED), result.totals


@pytest.mark.skipif(not LONG, reason="takes an hour; TAILRACE_LONG=1 runs it")
@pytest.mark.timeout(14_400)
def test_histories_under_hundreds_of_kills_differ_in_processed_time_alone() -> None:
    results = many(LONG_KILLS, drawn_seed(), 300, print)
    points: Counter[str] = Counter()
    for result in results:
        points.update(result.points)
        assert all(result.totals[name] for name in COUNTED), result.totals
    assert sum(result.kills for result in results) >= LONG_KILLS
    assert sum(result.at_random for result in results)
    # Points that a life passes once, such as those of dedupe's runs, may be left out by chance.
    assert sum(points[point] for point in processing_points())
