"""Every hour in an active destination's interval has a run, from the moment it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from tailrace.state.database import writing
from tailrace.state.tables import delivery

if TYPE_CHECKING:
    from tests.state.conftest import Books


def test_a_sealed_hour_is_owed_to_each_active_destination_of_its_project(books: Books) -> None:
    first, second = books.active(bucket="one"), books.active(bucket="two")
    books.active(bucket="other", project=books.add_project(books.organization))
    books.seal(books.today)
    assert books.states() == {
        (first.id, "events", books.today): "pending",
        (second.id, "events", books.today): "pending",
    }
    assert books.ledger.check_derived() == 0


def test_hours_sealed_before_a_destination_count_from_the_start_of_today(books: Books) -> None:
    books.seal(books.today.previous(), books.today, books.today.plus(9))
    added = books.active()
    assert books.states() == {
        (added.id, "events", books.today): "pending",
        (added.id, "events", books.today.plus(9)): "pending",
    }


def test_a_destination_that_is_setting_up_is_owed_nothing(books: Books) -> None:
    added = books.setting_up()
    books.seal(books.today)
    assert books.states() == {}
    assert books.ledger.check_derived() == 0
    books.destinations.activate(added.id, books.capabilities)
    assert books.states() == {(added.id, "events", books.today): "pending"}


def test_merged_ids_are_owed_under_the_organization(books: Books) -> None:
    both = books.active(merged=True)
    books.seal(books.today, scope=-books.organization)
    books.seal(books.today)
    assert books.states() == {
        (both.id, "events", books.today): "pending",
        (both.id, "merged-ids", books.today): "pending",
    }
    scopes = {run.data_type: run.scope for run in books.ledger.runs()}
    assert scopes == {"events": books.project, "merged-ids": -books.organization}


def test_all_hours_since_the_first_merge_are_owed_when_merged_ids_are_switched_on(
    books: Books,
) -> None:
    scope = -books.organization
    before = books.today.plus(-100)
    for offset in range(4):
        books.seal(before.plus(offset), files=offset in (1, 3), scope=scope)
        books.seal(before.plus(offset))
    events = books.active(bucket="events")
    assert books.states() == {}
    both = books.active(bucket="both", merged=True)
    owed = {(both.id, "merged-ids", before.plus(offset)): "pending" for offset in (1, 2, 3)}
    assert books.states() == owed

    wanted = msgspec.structs.replace(events, include_merged_ids=True)
    books.destinations.edit(events, wanted, None, now_micros=0)
    assert len(books.states()) == 6
    assert books.ledger.check_derived() == 0
    books.seal(books.today, files=0, scope=scope)
    assert (events.id, "merged-ids", books.today) in books.states()
    assert books.ledger.check_derived() == 0


def test_events_that_are_switched_on_owe_the_hours_that_the_archive_still_has(
    books: Books,
) -> None:
    books.active(bucket="events")
    both = books.active(bucket="both", merged=True)
    none = msgspec.structs.replace(both, include_events=False)
    books.destinations.edit(both, none, None, now_micros=0)
    gone, there = books.today, books.today.plus(1)
    books.seal(gone, there, files=2)
    while (held := books.claim()) is not None:
        books.deliver(held)
    first, second = books.ledger.removable_files(2)
    assert (first.hour, second.hour) == (gone, gone)
    assert books.ledger.mark_removed(first)

    books.destinations.edit(none, both, None, now_micros=0)

    owed = [run for run in books.ledger.runs() if run.destination_id == both.id]
    assert [(run.hour, run.state) for run in owed] == [(there, "pending")]
    assert books.ledger.check_derived() == 0
    # What is left of the other hour is of no use to it, and what it is owed stays.
    assert books.ledger.removable_files(10) == [second]


def test_without_merges_merged_ids_are_owed_as_events_are(books: Books) -> None:
    books.seal(books.today.previous(), books.today, files=0, scope=-books.organization)
    added = books.active(merged=True)
    assert books.states() == {(added.id, "merged-ids", books.today): "pending"}
    # The first merge comes later than the destination: nothing before it is owed anew.
    books.seal(books.today.next(), scope=-books.organization)
    assert len(books.states()) == 2
    assert books.ledger.check_derived() == 0


def test_past_merges_after_the_end_of_an_interval_are_not_owed(books: Books) -> None:
    added = books.active(merged=True)
    books.destinations.set_interval(added.id, books.today, books.today.plus(2))
    scope = -books.organization
    books.seal(*(books.today.plus(offset) for offset in (-9, 1, 2)), scope=scope)
    assert [run.hour for run in books.ledger.runs()] == [books.today.plus(1), books.today.plus(-9)]


def test_merges_of_another_organization_are_not_owed(books: Books) -> None:
    other = books.add_organization("Other")
    books.seal(books.today.plus(-5), scope=-other)
    books.seal(books.today.plus(-5), files=0, scope=-books.organization)
    books.active(merged=True)
    assert books.states() == {}


def test_reopened_hours_are_owed_once_more_when_they_are_sealed(books: Books) -> None:
    scope = -books.organization
    added = books.active(merged=True)
    books.seal(books.today, books.today.next(), files=0, scope=scope)
    books.deliver(books.held())
    books.ledger.reopen(scope, books.organization, books.today.next())
    assert books.states() == {(added.id, "merged-ids", books.today): "pending"}
    assert books.ledger.sealed_hour(scope, books.today.next()) is None
    books.seal(books.today.next(), scope=scope)
    assert len(books.states()) == 2
    assert books.ledger.check_derived() == 0


def test_an_early_file_owes_its_open_hour(books: Books) -> None:
    added = books.active()
    books.ledger.add_files([books.file(books.today)], books.organization)
    assert books.states() == {(added.id, "events", books.today): "pending"}
    assert books.ledger.check_derived() == 0


def test_an_hour_outside_the_interval_is_not_owed(books: Books) -> None:
    added = books.active()
    books.destinations.set_interval(added.id, books.today.plus(2), books.today.plus(4))
    books.seal(*(books.today.plus(n) for n in range(6)))
    assert [run.hour for run in books.ledger.runs()] == [books.today.plus(3), books.today.plus(2)]


def test_a_wider_interval_owes_at_once_what_it_adds(books: Books) -> None:
    added = books.active()
    books.seal(books.today.plus(-3), books.today)
    books.destinations.set_interval(added.id, books.today.plus(-5), None)
    assert len(books.states()) == 2
    assert books.ledger.check_derived() == 0


def test_hours_missed_while_paused_are_owed_on_activation(books: Books) -> None:
    added = books.active()
    books.destinations.pause(added.id)
    books.seal(books.today)
    assert books.states() == {}
    books.destinations.activate(added.id, books.capabilities)
    assert books.states() == {(added.id, "events", books.today): "pending"}


def test_the_check_finds_a_run_that_is_missing(books: Books) -> None:
    books.active()
    books.seal(books.today, books.today.next())
    with writing(books.engine) as connection:
        connection.execute(sa.delete(delivery).where(delivery.c.hour == books.today.number))
    assert books.ledger.check_derived() == 1
    assert books.ledger.check_derived(books.today) == 1
    assert books.ledger.check_derived(books.today.next()) == 0
