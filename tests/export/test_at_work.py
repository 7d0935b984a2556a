"""Who may have a worker more: counted by destination, and less for slow ones."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from tailrace.export.at_work import AtWork


def run_of(destination_id: int, manual_export: int = 0) -> Any:
    return SimpleNamespace(destination_id=destination_id, manual_export=manual_export)


def cause(code: str) -> Any:
    return SimpleNamespace(code=code)


def passed_over(at_work: AtWork) -> list[int]:
    """Return the destinations of which no run may be taken; none is."""
    seen: list[list[int]] = []
    assert at_work.claim(seen.append) is None
    return seen[0]


def test_a_destination_with_all_its_workers_is_passed_over_until_one_leaves() -> None:
    at_work = AtWork(workers=8, per_destination=2)
    held = [at_work.claim(lambda _: run_of(1)), at_work.claim(lambda _: run_of(1))]
    assert passed_over(at_work) == [1]

    with contextlib.suppress(OSError), at_work.leaving(run_of(1)):
        raise OSError

    assert len(held) == 2
    assert passed_over(at_work) == []


@pytest.mark.parametrize("code", ["Overrun", "ReadTimeoutError", "ConnectTimeoutError"])
def test_slow_destinations_share_half_of_the_workers_until_a_run_ends_well(code: str) -> None:
    at_work = AtWork(workers=4, per_destination=4)
    at_work.failed(run_of(1), cause(code))
    at_work.failed(run_of(2), cause(code))
    at_work.failed(run_of(3), cause("SlowDown"))
    for destination in (1, 2, 3):
        at_work.claim(lambda _, of=destination: run_of(of))  # type: ignore[misc]
    assert passed_over(at_work) == [1, 2]

    at_work.ended_well(run_of(1))

    assert passed_over(at_work) == []


def test_one_worker_is_left_to_slow_destinations() -> None:
    at_work = AtWork(workers=1, per_destination=1)
    at_work.failed(run_of(1), cause("Overrun"))

    assert passed_over(at_work) == []


def test_manual_exports_leave_a_place_at_each_destination_and_half_of_the_workers() -> None:
    at_work = AtWork(workers=4, per_destination=3)
    seen: list[tuple[list[int], int]] = []

    def claim(destination_id: int) -> Any:
        def claimed(passing_over: list[int], manual_limit: int) -> Any:
            seen.append((passing_over, manual_limit))
            return run_of(destination_id, manual_export=7)

        return at_work.claim_manual(claimed)

    assert claim(1)
    assert claim(1)
    assert claim(2) is None, "half of four workers are at manual exports"
    assert passed_over(at_work) == [], "the third place is for an hour that is sealed"
    assert at_work.claim(lambda _: run_of(1))
    assert passed_over(at_work) == [1]
    with at_work.leaving(run_of(1, manual_export=7)):
        pass
    assert claim(2)
    assert seen == [([], 2), ([], 2), ([], 2)]


def test_a_destination_full_of_manual_runs_is_passed_over_by_manual_exports_only() -> None:
    at_work = AtWork(workers=8, per_destination=2)
    seen: list[list[int]] = []
    assert at_work.claim_manual(lambda _, limit: run_of(limit, manual_export=7))
    at_work.claim_manual(lambda passing_over, _: seen.append(passing_over))
    assert seen == [[1]]
    assert passed_over(at_work) == []
