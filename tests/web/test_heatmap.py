"""Each hour's cell: its state, its heat and its sentence."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.clock import MICROS
from tailrace.state.hours_read import KnownHourOf
from tailrace.web.heatmap import Collected, HourCell, grid, took
from tests.web.hours import NOW, NOW_MICROS, TODAY, destination, exported, hour, run

MACHINE = 1_000_000 * MICROS
AT_13 = TODAY.plus(13)


def cells(*known: KnownHourOf, path: str = "/hours", **changes: Any) -> dict[str, HourCell]:
    days = grid(
        destination(**changes),
        known,
        [Collected(NOW, 8123)],
        now_micros=NOW_MICROS,
        machine_micros=MACHINE,
        path=path,
    )
    return {cell.id[-2:]: cell for day in days for cell in day.cells}


SENTENCES = {
    "exported": (
        exported(13),
        "exported, 58,302 events, 2 files, 2m 26s after the hour closed",
    ),
    "none": (
        hour(13, run("success", AT_13), lines=0, files=0),
        "no events, nothing to export",
    ),
    "exporting": (hour(13, run("running", AT_13)), "exporting now, 58,302 events"),
    "waiting": (
        hour(13, run("pending", AT_13)),
        "sealed, waiting for its turn, 58,302 events",
    ),
    "retrying": (
        hour(13, run("retrying", AT_13, attempts=2, due_micros=MACHINE + 900 * MICROS)),
        "retrying, attempt 3 at 14:35, 58,302 events waiting",
    ),
    "failed": (
        hour(13, run("failed", AT_13, attempts=6)),
        "failed after 6 attempts, 58,302 events waiting",
    ),
    "conflict": (
        hour(13, run("conflict", AT_13)),
        "other content lies at its place, 58,302 events waiting",
    ),
}


@pytest.mark.parametrize("state", SENTENCES)
def test_an_hour_that_is_over_says_how_it_stands(state: str) -> None:
    known, sentence = SENTENCES[state]
    cell = cells(known)["13"]
    assert cell.state == state
    assert cell.text == f"Fri 20 Nov, 13:00 to 14:00 UTC: {sentence}"
    assert cell.href == "/hours/2026-11-20T13"


def test_the_open_hour_tells_what_it_has() -> None:
    cell = cells(hour(14))["14"]
    assert cell.state == "collecting"
    assert cell.text.endswith("collecting, 8,123 events so far")


def test_an_hour_that_is_over_and_not_sealed_is_still_collecting() -> None:
    assert cells(hour(13, sealed=False))["13"].state == "collecting"


def test_later_hours_and_those_before_the_destination_lead_nowhere() -> None:
    found = cells(hour(3), hour(20), from_hour=TODAY.plus(5))
    assert (found["03"].state, found["03"].href) == ("before", "")
    assert found["03"].text.endswith("before this destination existed")
    assert (found["20"].state, found["20"].href) == ("later", "")


def test_a_paused_destinations_hours_are_kept() -> None:
    cell = cells(hour(13, run("pending", AT_13)), state="paused")["13"]
    assert cell.state == "paused"
    assert cell.text.endswith("paused, 58,302 events kept")


def test_of_two_data_types_the_one_in_trouble_decides() -> None:
    both = (run("success", AT_13), run("failed", AT_13, data_type="merged-ids", attempts=6))
    assert cells(hour(13, *both), include_merged_ids=True)["13"].state == "failed"


def test_what_a_manual_export_brought_is_marked() -> None:
    found = cells(
        hour(3, run("success", TODAY.plus(3), by=3)),
        hour(9, run("success", TODAY.plus(9)), run("success", TODAY.plus(9), by=3)),
        from_hour=TODAY.plus(5),
    )
    assert found["03"].by_hand
    assert found["03"].text.endswith("exported, 58,302 events, 2 files, by manual export 3")
    assert not found["09"].by_hand


def test_a_failed_manual_export_does_not_spoil_what_is_there() -> None:
    runs = (run("success", AT_13), run("failed", AT_13, by=3))
    assert cells(hour(13, *runs))["13"].state == "exported"


def test_the_busiest_hours_are_the_hottest() -> None:
    found = cells(*(exported(number, lines=100 * number) for number in range(1, 14)))
    levels = [found[f"{number:02d}"].level for number in range(1, 14)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (1, 4)


def test_one_outlier_does_not_make_all_others_pale() -> None:
    usual = [exported(number, lines=1000) for number in range(1, 13)]
    several = [*usual, *(exported(n, lines=900) for n in range(1, 13)), exported(13, lines=10**9)]
    assert cells(*several)["12"].level == 4


def test_days_are_told_with_their_totals_the_newest_first() -> None:
    yesterday = [hour(number, run("success", TODAY.plus(number))) for number in range(-24, 0)]
    days = grid(
        destination(),
        [*yesterday, *(exported(number) for number in range(14)), hour(14)],
        [],
        now_micros=NOW_MICROS,
        machine_micros=MACHINE,
        path="",
    )
    assert [(day.label, day.total) for day in days] == [
        ("Fri 20 Nov", f"{14 * 58_302:,}"),
        ("Thu 19 Nov", f"{24 * 58_302:,}"),
    ]
    assert all(not cell.href for day in days for cell in day.cells)


def test_a_day_before_the_destination_has_no_total() -> None:
    days = grid(
        destination(), [hour(-24, lines=0)], [], now_micros=NOW_MICROS, machine_micros=0, path=""
    )
    assert days[0].total == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59, "59s"), (146, "2m 26s"), (4325, "1h 12m"), (200_000, "2d 7h")],
)
def test_a_duration_is_told_as_people_do(seconds: float, text: str) -> None:
    assert took(seconds) == text
