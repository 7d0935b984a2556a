"""What a power cut leaves at some steps of a traced life; `make powercut` tries every step.

The tests are slow because the workload runs in seven processes under strace, once for all of them.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from powercut.cuts import Cut
from powercut.needed import KEPT, NEEDED, PRAGMAS
from powercut.quiet import be_quiet
from powercut.replay import Step
from powercut.service import use_small_sizes
from powercut.sites import pragma_sites, sync_sites
from powercut.survey import Judge, survey
from powercut.tracing import Trace, trace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 1
# Of some 18,000 cuts; the seconds that a recovery takes add up.
SHARE = 0.005

# Syncs without which a cut loses or doubles something. The long form shows it for each.
LEFT_OUT = (
    "log/tail.py commit sync_data",
    "files.py put_whole sync_descriptor < archive/folder.py put_pack put_whole",
)


def test_each_sync_in_the_code_is_shown_to_be_needed_or_has_a_reason() -> None:
    assert sync_sites() == sorted([*NEEDED, *KEPT])
    assert pragma_sites() == PRAGMAS


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    # In memory, where a sync costs nothing: the trace shows that it was asked for all the same.
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="powercut-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def traced(scratch: Path) -> Trace:
    if sys.platform != "linux" or shutil.which("strace") is None:
        reason = "power cuts are made from what strace records"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return trace(scratch / "traced")


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import structlog

    be_quiet()
    use_small_sizes(monkeypatch.setattr)
    yield
    structlog.reset_defaults()


def test_a_power_cut_loses_and_doubles_nothing(
    traced: Trace, scratch: Path, small_sizes: None
) -> None:
    def picked(step: Step, cut: Cut, chance: random.Random) -> bool:
        return chance.random() < SHARE

    report = survey(traced, Judge(scratch / "recovered"), seed=SEED, wanted=picked)
    assert report.tried > 50
    assert [site for site in NEEDED if not report.asked[site]] == []
    assert [str(failure) for failure in report.failures] == []


@pytest.mark.parametrize("site", LEFT_OUT)
def test_without_a_sync_a_power_cut_breaks_a_promise(
    site: str, traced: Trace, scratch: Path, small_sizes: None
) -> None:
    assert site in NEEDED
    judge = Judge(scratch / "recovered")
    judge.take_for_sound(traced, SEED)
    report = survey(traced, judge, seed=SEED, without=site, failures_max=1)
    assert report.failed == 1
