"""Manual exports: what they owe, in which order it is given out, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tailrace.errors import BadRequest
from tailrace.state.audit import entries
from tailrace.state.database import reading, writing
from tailrace.state.manual_exports import ManualExports
from tailrace.state.tables import delivery
from tests.state.by_hand import LATER, claim, held, old, start, states

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_it_owes_the_sealed_hours_of_its_range_and_no_others(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -49, -48, -30, -25, -24)
    export = start(exports, books, added)
    assert sorted(states(books, export)) == [books.today.plus(n) for n in (-48, -30, -25)]
    assert (export.state, export.created_by) == ("running", "test")
    assert books.ledger.runs(manual_export=0) == []
    assert books.claim() is None, "no automatic run is there to take"
    assert [held(books).hour for _ in range(3)] == [books.today.plus(n) for n in (-25, -30, -48)]


def test_hours_that_are_sealed_later_are_left_out_also_by_the_check(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    books.destinations.set_interval(added.id, books.today.plus(100), None)
    books.seal(books.today)
    export = start(exports, books, added, 0, 24)
    assert export.events_until == books.today.next()
    books.seal(books.today.next(), books.today.plus(2))
    assert list(states(books, export)) == [books.today]
    assert books.ledger.check_derived() == 0


def test_the_check_finds_a_manual_run_that_is_missing_and_the_next_hand_over_makes_it(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    hours = old(books, -40, -39)
    export = start(exports, books, added)
    with writing(books.engine) as connection:
        connection.execute(sa.delete(delivery).where(delivery.c.hour == hours[1].number))
    assert books.ledger.check_derived() == 1
    exports.pause(export.id)
    assert books.ledger.check_derived() == 1
    books.destinations.set_interval(added.id, books.today, None)
    assert books.ledger.check_derived() == 0
    assert list(states(books, export)) == hours[::-1]


def test_events_and_merged_ids_are_exported_as_asked(books: Books, exports: ManualExports) -> None:
    added = books.active()
    hours = [books.today.plus(-30), books.today.plus(-29)]
    books.seal(*hours)
    books.seal(hours[0], scope=-books.organization)
    both = start(exports, books, added, include_merged_ids=True)
    found = {(run.data_type, run.hour) for run in books.ledger.runs(manual_export=both.id)}
    assert found == {("events", hours[0]), ("events", hours[1]), ("merged-ids", hours[0])}
    only = start(exports, books, added, include_events=False, include_merged_ids=True)
    assert only.data_types == ("merged-ids",)
    assert [run.data_type for run in books.ledger.runs(manual_export=only.id)] == ["merged-ids"]


def test_a_range_without_sealed_hours_is_finished_at_once(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    export = start(exports, books, added)
    assert (export.state, export.finished_micros) == ("finished", books.clock.now_micros())
    assert states(books, export) == {}


def test_it_is_finished_when_its_last_run_is(books: Books, exports: ManualExports) -> None:
    added = books.active()
    old(books, -30, -29)
    export = start(exports, books, added)
    books.deliver(held(books))
    assert exports.get(export.id).state == "running"
    last = held(books)
    books.ledger.failed(last, books.busy)
    assert exports.get(export.id).state == "running", "what failed is owed"
    exports.resume(export.id)
    books.deliver(held(books))
    assert exports.get(export.id).state == "finished"
    assert exports.get(export.id).finished_micros == 8


def test_automatic_and_manual_runs_of_an_hour_stand_side_by_side(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    books.seal(books.today)
    export = start(exports, books, added, 0, 1)
    automatic, by_hand = books.held(), held(books)
    assert (automatic.manual_export, by_hand.manual_export) == (0, export.id)
    books.deliver(automatic)
    assert states(books, export) == {books.today: "running"}
    assert books.ledger.delivered_files(added.id, "events", books.today)
    files = books.ledger.delivered_files(added.id, "events", books.today, manual_export=export.id)
    assert files == []
    books.deliver(by_hand)
    assert exports.get(export.id).state == "finished"


def test_a_destination_whose_automatic_exports_are_off_is_exported_to_by_hand(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30)
    books.destinations.pause(added.id)
    start(exports, books, added)
    books.deliver(held(books))


def test_one_that_was_never_verified_and_one_that_is_not_there_are_refused(
    books: Books, exports: ManualExports
) -> None:
    added = books.setting_up()
    with pytest.raises(BadRequest, match=f"never verified.*tailrace verify {added.id}"):
        start(exports, books, added)
    with pytest.raises(BadRequest, match="There is no destination 77"):
        exports.check_destination(77)
    with pytest.raises(BadRequest, match="There is no manual export 1"):
        exports.get(1)


def test_a_bucket_is_of_one_organization_also_while_exports_by_hand_go_on(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30)
    books.destinations.pause(added.id)
    export = start(exports, books, added)
    other = books.add_project(books.add_organization("Other"))
    with pytest.raises(BadRequest, match="another organization"):
        books.active(project=other)
    exports.cancel(export.id)
    books.active(project=other)
    with pytest.raises(BadRequest, match="another organization"):
        start(exports, books, added)


def test_an_outage_holds_manual_runs_and_its_end_sends_them_out(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30, -29)
    books.destinations.pause(added.id)
    export = start(exports, books, added)
    assert books.ledger.failed(held(books), books.refused, next_probe_micros=100)
    assert claim(books, 200) is None
    assert books.ledger.probe_due(200) == [added.id], "probed though automatic exports are off"
    books.ledger.end_outage(added.id)
    books.deliver(held(books))
    books.deliver(held(books))
    assert exports.get(export.id).state == "finished"


def test_a_destination_has_its_limit_for_both_kinds_and_one_for_manual_runs(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    books.seal(books.today)
    old(books, -30, -29, -28)
    start(exports, books, added)
    assert claim(books, limit=3, manual=2) is not None
    assert claim(books, limit=3, manual=2) is not None
    assert claim(books, limit=3, manual=2) is None
    assert books.claim(limit=2) is None
    assert books.claim(limit=3) is not None
    assert claim(books, limit=3, manual=3) is None


def test_the_older_of_two_exports_goes_first(books: Books, exports: ManualExports) -> None:
    added = books.active()
    old(books, -30, -29)
    first, second = start(exports, books, added), start(exports, books, added)
    taken = [held(books).manual_export for _ in range(4)]
    assert taken == [first.id, first.id, second.id, second.id]


def test_who_overwrites_is_alone_with_its_keys(books: Books, exports: ManualExports) -> None:
    one, two = books.active(), books.active()
    elsewhere = books.active(bucket="elsewhere")
    hours = old(books, -30, -29)
    over = start(exports, books, one, overwrite=True)
    beside = start(exports, books, two)
    apart = start(exports, books, elsewhere)

    taken = [held(books) for _ in range(4)]
    got = {(run.manual_export, run.hour) for run in taken}
    assert got == {
        (over.id, hours[1]),
        (beside.id, hours[0]),
        (apart.id, hours[1]),
        (apart.id, hours[0]),
    }
    assert {run.overwrite for run in taken if run.manual_export == over.id} == {True}
    assert claim(books) is None, "each of the other two waits for the same keys"
    for run in taken:
        books.deliver(run)
    rest = [held(books), held(books)]
    assert {(run.manual_export, run.hour) for run in rest} == {
        (over.id, hours[0]),
        (beside.id, hours[1]),
    }


def test_an_automatic_run_waits_for_the_one_that_overwrites_its_keys(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    books.seal(books.today)
    books.deliver(books.held())
    start(exports, books, added, 0, 1, overwrite=True)
    by_hand = held(books)
    other = books.active()
    assert books.ledger.runs(destination_id=other.id)[0].state == "pending"
    assert books.claim() is None
    books.ledger.file_delivered(by_hand, 1, "k#1", "replaced", 7)
    books.ledger.succeeded(by_hand, 8)
    assert books.held().destination_id == other.id


def test_two_that_do_not_overwrite_share_their_keys(books: Books, exports: ManualExports) -> None:
    one, two = books.active(), books.active()
    old(books, -30)
    start(exports, books, one)
    start(exports, books, two)
    assert {held(books).destination_id for _ in range(2)} == {one.id, two.id}


def test_each_change_is_in_the_audit_trail(books: Books, exports: ManualExports) -> None:
    added = books.active()
    old(books, -30)
    export = start(exports, books, added, overwrite=True)
    exports.pause(export.id)
    exports.resume(export.id)
    exports.cancel(export.id)
    trail = entries(books.engine, of=f"manual export {export.id}")
    assert [(entry.what, entry.who) for entry in reversed(trail)] == [
        (what, "test") for what in ("started", "paused", "resumed", "cancelled")
    ]
    assert trail[-1].detail["overwrite"] is True
    assert trail[-1].detail["runs"] == 1


def test_the_tries_of_a_run_are_kept_with_their_causes_the_last_ten(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30)
    start(exports, books, added)
    began = books.clock.now_micros()
    taken = held(books)
    books.clock.advance(3)
    books.ledger.retry(taken, books.busy, 0)
    held(books)
    taken = held(books, LATER)
    (first, second) = taken.tries
    assert (first.began_micros, first.ended_micros) == (began, began + 3)
    assert (first.outcome, first.cause) == ("retrying", books.busy)
    assert (second.began_micros, second.ended_micros, second.outcome) == (began + 3, None, "lost")
    for _ in range(20):
        books.ledger.retry(taken, books.busy, 0)
        taken = held(books, LATER)
    books.deliver(taken)
    (run,) = books.ledger.runs()
    assert [one.outcome for one in run.tries] == ["retrying"] * 9 + ["success"]


def test_progress_counts_runs_and_reckons_the_pace_of_the_last(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    old(books, -30, -29, -28, -27)
    export = start(exports, books, added)
    assert books.ledger.progress(export.id).runs == {"pending": 4}
    assert books.ledger.progress(export.id).runs_per_minute is None
    for seconds in (10, 40, 70):
        run = held(books)
        books.put_all(run)
        books.ledger.succeeded(run, seconds * 1_000_000)
    progress = books.ledger.progress(export.id)
    assert progress.runs == {"pending": 1, "success": 3}
    assert (progress.total, progress.runs_per_minute) == (4, 2.0)
    assert (progress.under_way, progress.minutes_left) == (1, 0.5)


def test_dates_with_data_are_joined_and_empty_hours_are_none(books: Books) -> None:
    day = books.today
    books.seal(*(day.plus(n) for n in (-96, -72, -70)))
    books.seal(day.plus(-49), files=0)
    books.seal(day.plus(-1))
    found = books.ledger.dates_with_data(books.project)
    assert [(one.first, one.last, one.lines) for one in found] == [
        ("2026-11-19", "2026-11-20", 30),
        ("2026-11-22", "2026-11-22", 10),
    ]


@pytest.mark.slow  # a hundred thousand runs take a moment to make
def test_with_a_long_manual_export_no_claim_reads_it_through(
    books: Books, exports: ManualExports, statements: list[tuple[str, object]]
) -> None:
    from tests.state.test_claims import HOURS, fill

    added = books.active()
    fill(books, HOURS)
    start(exports, books, added, -HOURS, 0, overwrite=True)
    statements.clear()
    for _ in range(2):
        books.deliver(held(books))
    progress = books.ledger.progress(1)
    assert progress.runs["success"] == 2
    with reading(books.engine):
        plan = [line for text, values in statements[:-2] for line in books.plan(text, values)]
    assert any("delivery_to_claim" in line for line in plan)
    assert [line for line in plan if line.startswith("SCAN delivery")] == []
    assert "delivery_by_state (state=?)" not in "".join(plan)


def test_a_manual_export_does_not_make_the_hourly_export_look_late(
    books: Books, exports: ManualExports
) -> None:
    added = books.active()
    books.seal(books.today)
    books.deliver(books.held())
    old(books, -30)
    start(exports, books, added)
    (lag,) = books.ledger.lags()
    assert lag.oldest_owed is None
