"""What happened at a destination, of several tables in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tailrace.hours import Hour
from tailrace.state import activity
from tailrace.state.destinations import Destinations
from tailrace.state.ledger_view import LedgerView
from tests.state.by_hand import old, start

if TYPE_CHECKING:
    from tailrace.state.delivery import Destination
    from tailrace.state.manual_exports import ManualExports
    from tests.state.conftest import Books


@pytest.fixture
def view(books: Books) -> LedgerView:
    return LedgerView(books.engine, books.clock)


def lived_in(books: Books, exports: ManualExports) -> Destination:
    """Set up a destination, export by hand, lose access, get it back, pause; a second each."""
    added = books.setting_up()
    books.clock.advance(1_000_000)
    books.destinations.activate(added.id, books.capabilities)
    books.clock.advance(1_000_000)
    old(books, -48)
    export = start(exports, books, added)
    books.clock.advance(1_000_000)
    exports.cancel(export.id)
    books.clock.advance(1_000_000)
    books.ledger.begin_outage(added.id, books.refused, 900)
    books.clock.advance(1_000_000)
    books.ledger.end_outage(added.id)
    books.clock.advance(1_000_000)
    Destinations(books.engine, books.clock, by="dana@acme.example").pause(added.id)
    return added


def test_everything_is_there_with_who_did_it_the_newest_first(
    books: Books, exports: ManualExports, view: LedgerView
) -> None:
    begin = books.clock.now_micros()
    added = lived_in(books, exports)
    found = view.happenings(added.id)
    assert [(one.kind, one.what, one.who) for one in found] == [
        ("settings", "paused", "dana@acme.example"),
        ("access", "access back", "tailrace"),
        ("access", "access refused", "tailrace"),
        ("manual export", "cancelled", "test"),
        ("manual export", "started", "test"),
        ("settings", "activated", "test"),
        ("settings", "added", "test"),
    ]
    assert [one.at_micros for one in found] == [begin + n * 1_000_000 for n in range(6, -1, -1)]
    assert found[1].since_micros == found[2].at_micros
    assert found[2].detail["code"] == "AccessDenied"
    assert found[4].detail["from_hour"] == str(books.today.plus(-48))
    assert found[6].detail["bucket"] == "acme"


def test_a_manual_export_that_comes_to_its_end_says_so(
    books: Books, exports: ManualExports, view: LedgerView
) -> None:
    to = books.active()
    started = start(exports, books, to)
    newest = view.happenings(to.id)[0]
    # Nothing was sealed, so that there was nothing to do.
    assert (newest.kind, newest.what, newest.number) == ("manual export", "finished", started.id)
    assert newest.who == "tailrace"


def test_what_happened_elsewhere_is_left_out(
    books: Books, exports: ManualExports, view: LedgerView
) -> None:
    first = books.active()
    # Their numbers begin alike.
    for number in range(10):
        last = books.active(bucket=f"more-{number}")
    assert last.id == first.id + 10
    old(books, -48)
    start(exports, books, last)
    books.ledger.begin_outage(last.id, books.refused, 900)
    assert [one.what for one in view.happenings(first.id)] == ["activated", "added"]
    assert len(view.happenings(last.id)) == 4


def test_each_filter_narrows_it(books: Books, exports: ManualExports, view: LedgerView) -> None:
    added = lived_in(books, exports)
    kinds = {kind: view.happenings(added.id, kind=kind) for kind in activity.ACTIVITY_KINDS}
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "settings": 3, "manual export": 2, "access": 2,
    }  # fmt: skip
    assert [one.what for one in view.happenings(added.id, who="dana@acme.example")] == ["paused"]
    hour = Hour.of_micros(books.clock.now_micros())
    assert len(view.happenings(added.id, since=hour, before=hour.next())) == 7
    assert view.happenings(added.id, before=hour) == []
    assert view.happenings(added.id, since=hour.next()) == []


def test_it_goes_on_behind_what_is_known_and_has_an_upper_limit(
    books: Books, exports: ManualExports, view: LedgerView, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = lived_in(books, exports)
    every = view.happenings(added.id)
    parts = [view.happenings(added.id, skip=skip, limit=3) for skip in (0, 3, 6)]
    assert [one for part in parts for one in part] == every
    monkeypatch.setattr(activity, "HAPPENINGS_MAX", 2)
    assert view.happenings(added.id) == every[:2]


def test_of_one_moment_the_last_change_is_the_newest(books: Books, view: LedgerView) -> None:
    added = books.active()
    books.destinations.pause(added.id)
    assert [one.what for one in view.happenings(added.id)] == ["paused", "activated", "added"]


def test_who_acted_is_named_once(books: Books, exports: ManualExports, view: LedgerView) -> None:
    added = lived_in(books, exports)
    assert view.actors(added.id) == ["dana@acme.example", "tailrace", "test"]


def test_it_is_one_query(
    books: Books, exports: ManualExports, view: LedgerView, statements: list[tuple[str, Any]]
) -> None:
    added = lived_in(books, exports)
    statements.clear()
    view.happenings(added.id)
    assert len(statements) == 1
    # None reads all of the trail.
    text, values = statements[0]
    assert not [step for step in books.plan(text, values) if step.startswith("SCAN audit")]
