"""What happened at a destination: in words, with filters in the address, and as CSV."""

from __future__ import annotations

import csv
from typing import Any

import msgspec
import pytest

from tailrace.clock import SteppedClock
from tailrace.hours import Hour
from tailrace.state.activity import Happening
from tailrace.web.activity_values import CSV_COLUMNS, activity_rows, as_csv
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting
from tests.web.test_overview import dana as dana
from tests.web.test_overview import exporting as exporting
from tests.web.test_overview import now as now

AT = Hour.parse("2026-11-20T09").start_micros


def happening(kind: Any, what: str, **changes: Any) -> Happening:
    values: dict[str, Any] = {
        "at_micros": AT,
        "number": 3,
        "since_micros": None,
        "who": "dana@acme.example",
        "detail": {},
    }
    return Happening(kind=kind, what=what, **values | changes)


def said(kind: Any, what: str, **changes: Any) -> tuple[str, str, str]:
    (row,) = activity_rows([happening(kind, what, **changes)], "/d", 0)
    return row.what, row.more, row.href


def page(place: Place, query: str = "") -> str:
    return f"/p/{place.project}/destinations/1/activity{query}"


def lived_in(place: Place, exporting: Exporting, now: Hour) -> None:
    clock = place.site.clock
    assert isinstance(clock, SteppedClock)
    exporting.activate(exporting.add())
    clock.advance(1_000_000)
    exporting.seal(now.plus(-1))
    exporting.deliver(refused=1)
    clock.advance(1_000_000)
    exporting.ledger.end_outage(1)
    clock.advance(1_000_000)
    exporting.destinations.pause(1)


@pytest.mark.parametrize(
    ("kind", "what", "changes", "words"),
    [
        (
            "settings",
            "added",
            {"detail": {"bucket": "acme", "prefix": "raw/"}},
            ("Added the destination", "s3://acme/raw/", ""),
        ),
        (
            "settings",
            "resumed",
            {"detail": {"newly_owed": 1, "left_out": 2}},
            (
                "Switched automatic exports on",
                "1 missed run goes out, 2 runs left out",
                "",
            ),
        ),
        (
            "settings",
            "edited",
            {
                "detail": {
                    "fields": ["bucket", "prefix", "marker", "secret_encrypted", "state"],
                    "bucket": "acme-2",
                    "prefix": "",
                    "marker": False,
                }
            },
            (
                "Changed the settings",
                "bucket acme-2, no prefix, marker off, new secret access key",
                "",
            ),
        ),
        (
            "manual export",
            "started",
            {
                "detail": {
                    "from_hour": "2026-01-01T00",
                    "until_hour": "2026-02-01T00",
                    "runs": 744,
                    "overwrite": True,
                }
            },
            (
                "Started manual export 3",
                "2026-01-01T00 until 2026-02-01T00, 744 runs, overwriting",
                "/d/manual-exports#export-3",
            ),
        ),
        (
            "access",
            "access refused",
            {"detail": {"title": "S3 refuses", "sentence": "403"}},
            ("Access was refused", "S3 refuses", "/d/failures/3"),
        ),
        (
            "access",
            "access back",
            {"since_micros": AT - 26 * 3600 * 1_000_000},
            ("Access is back", "after 26 hours", "/d/failures/3"),
        ),
        # What a later release notes is shown as it is noted.
        ("settings", "turned", {}, ("turned", "", "")),
    ],
)
def test_each_is_told_in_words(
    kind: str, what: str, changes: dict[str, Any], words: tuple[str, str, str]
) -> None:
    assert said(kind, what, **changes) == words


def test_what_happens_by_itself_is_told_as_that() -> None:
    (row,) = activity_rows([happening("access", "access back", who="tailrace")], "/d", 7)
    assert (row.who, row.id) == ("tailrace, by itself", "activity-7")
    assert (row.shown, row.at) == ("2026-11-20 09:00:00", "2026-11-20T09:00:00Z")


def test_the_newest_stands_first_with_who_did_it(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    lived_in(place, exporting, now)
    shown = dana.get(page(place))
    words = (
        "Switched automatic exports off",
        "Access is back",
        "Access was refused",
        "Verified access",
        "Added the destination",
    )
    places = [shown.text.index(one) for one in words]
    assert places == sorted(places)
    assert shown.text.count("dana@acme.example") >= 3
    assert "Showing 5 rows" in shown.text


def test_it_is_filtered_by_what_who_and_when(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    lived_in(place, exporting, now)
    for query, rows in (
        ("?kind=access", 2),
        ("?kind=settings&who=dana%40acme.example", 3),
        ("?who=nobody", 0),
        (f"?from={now.date}&to={now.date}", 5),
        ("?to=2020-01-01", 0),
        # A kind that there is not shows all.
        ("?kind=x", 5),
    ):
        shown = dana.get(page(place, query))
        assert len([one for one in shown.all("tr") if "id" in one]) == rows, query
    assert "Nothing matches" in dana.get(page(place, "?who=nobody")).text


@pytest.mark.parametrize(("query", "field"), [("?from=yesterday", "from"), ("?to=9999", "to")])
def test_a_wrong_date_is_told_beside_its_field(
    place: Place, dana: Visitor, exporting: Exporting, query: str, field: str
) -> None:
    exporting.add()
    shown = dana.get(page(place, query), 422)
    assert shown.all("input", name=field)[0]["aria-invalid"] == "true"
    assert dana.get(page(place, f".csv{query}"), 400)


def test_older_rows_are_a_page_away_and_none_is_left_out(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.activate(exporting.add())
    for _ in range(60):
        exporting.destinations.pause(1)
        exporting.activate(exporting.destinations.get(1))
    first = dana.get(page(place))
    assert "Showing 100 rows" in first.text
    second = dana.get(next(link for link in first.links() if "skip=100" in link))
    assert "Showing 22 rows, from row 101 on" in second.text
    assert "Added the destination" in second.text
    assert page(place) in second.links()
    # As a file it is whole.
    assert len(dana.get(page(place, ".csv")).answer.text.splitlines()) == 123


def test_it_can_be_had_as_csv_with_the_same_filters(
    place: Place, dana: Visitor, exporting: Exporting, now: Hour
) -> None:
    lived_in(place, exporting, now)
    shown = dana.get(page(place, "?kind=access"))
    link = next(one for one in shown.links() if ".csv" in one)
    answer = dana.get(link).answer
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'attachment; filename="activity-' in answer.headers["content-disposition"]
    lines = list(csv.DictReader(answer.text.splitlines()))
    assert [one["what"] for one in lines] == ["access back", "access refused"]
    assert tuple(lines[0]) == CSV_COLUMNS
    assert '"AccessDenied"' in lines[1]["detail"]


def test_no_cell_of_the_csv_is_a_formula() -> None:
    text = as_csv([happening("settings", "paused", who='=HYPERLINK("x")@acme.example')])
    cells = list(csv.reader(text.splitlines()))[1]
    assert cells[1].startswith("'=")
    assert not any(one.startswith(("=", "+", "-", "@")) for one in cells)


def test_nobody_reads_a_whole_access_key_in_it(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    seen = exporting.add_unreachable()
    wanted = msgspec.structs.replace(seen, access_key_id="AKIAIOSFODNN7EXAMPLE")
    exporting.destinations.edit(seen, wanted, None, now_micros=0)
    shown, file = dana.get(page(place)), dana.get(page(place, ".csv")).answer.text
    assert "access key AKIA…MPLE" in shown.text
    assert file.count("AKIA…MPLE") == 2
    assert "AKIAIOSFODNN7EXAMPLE" not in shown.answer.text + file


def test_a_new_destination_has_its_first_entry(
    place: Place, dana: Visitor, exporting: Exporting
) -> None:
    exporting.add()
    assert "Added the destination Amazon S3, s3://acme-events/" in dana.get(page(place)).text
