"""Destinations are changed and deleted whole, and what is owed then begins at the new place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tailrace.errors import BadRequest, Halted, LeaseLost, Transient
from tailrace.state.audit import entries
from tailrace.state.delivery import LIVING_STATES, Destination
from tailrace.state.editing import BegunHour, Place, Upload
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tests.state.conftest import LEASE_MICROS

if TYPE_CHECKING:
    from tests.state.conftest import Books

LATER = 2 * LEASE_MICROS


def moved(to: Destination, **changes: object) -> Destination:
    return msgspec.structs.replace(to, **({"bucket": "new"} | changes))


def start_export(books: Books, to: Destination) -> int:
    new = NewManualExport(
        destination_id=to.id,
        from_hour=books.today.plus(-30),
        until_hour=books.today,
        include_events=True,
        include_merged_ids=False,
    )
    return ManualExports(books.engine, books.clock).start(new).id


def test_delivered_hours_stay_and_owed_ones_begin_anew_at_the_new_place(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    books.deliver(books.held())
    early = books.today.next()
    books.ledger.add_files([books.file(early)], books.organization)
    waiting = books.held()
    books.put_all(waiting)
    books.ledger.waiting(waiting)

    begun = books.destinations.edit(added, moved(added), books.capabilities, now_micros=0)

    assert begun == (BegunHour("events", early, 1),)
    assert books.states() == {
        (added.id, "events", books.today): "success",
        (added.id, "events", early): "pending",
    }
    files = books.ledger.delivered_files(added.id, "events", books.today)
    assert [file.number for file in files] == [1]
    again = books.held()
    assert again.hour == early
    assert [done for _, done in books.ledger.files(again)] == [False]
    assert books.destinations.earlier_places(added.id) == [
        Place("acme", "", None, books.clock.now_micros())
    ]
    assert books.destinations.get(added.id).bucket == "new"


def test_what_failed_or_met_other_content_is_tried_at_the_new_place(books: Books) -> None:
    added = books.active()
    hours = [books.today, books.today.next()]
    books.seal(*hours)
    books.ledger.conflict(books.held(), books.busy, "k")
    books.ledger.failed(books.held(), books.refused, next_probe_micros=LATER)
    assert books.claim() is None
    books.destinations.edit(added, moved(added), books.capabilities, now_micros=0)
    assert set(books.states().values()) == {"retrying"}
    assert books.destinations.get(added.id).outage_since_micros is None
    assert {books.held().hour, books.held().hour} == set(hours)


def test_no_place_changes_while_a_run_is_in_work(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    held = books.held()
    with pytest.raises(Transient, match="1 of its runs are in work"):
        books.destinations.edit(added, moved(added), books.capabilities, now_micros=1)
    with pytest.raises(Transient, match="in work"):
        books.destinations.delete(added.id, aborted=(), now_micros=1)
    assert books.destinations.get(added.id) == added
    # Its lease has run out: whoever held it finds it gone.
    books.destinations.edit(added, moved(added), books.capabilities, now_micros=LATER)
    with pytest.raises(LeaseLost):
        books.ledger.file_delivered(held, 1, "k", "put", 5)


def test_no_place_changes_while_an_upload_waits_to_be_aborted(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    held = books.held()
    books.ledger.upload_started(held, "k#1", "first")
    books.ledger.retry(held, books.busy, LATER)
    upload = Upload("k#1", "first")
    assert books.destinations.under_way(added.id, 0).uploads == (upload,)
    with pytest.raises(Transient):
        books.destinations.edit(added, moved(added), books.capabilities, now_micros=0)
    with pytest.raises(Transient):
        books.destinations.delete(added.id, aborted=(Upload("k#1", "second"),), now_micros=0)
    books.destinations.edit(
        added, moved(added), books.capabilities, aborted=(upload,), now_micros=0
    )
    assert books.held().upload_id is None


def test_no_place_changes_while_a_manual_export_is_under_way(books: Books) -> None:
    added = books.active()
    books.seal(books.today.plus(-3))
    number = start_export(books, added)
    for refused in (
        lambda: books.destinations.refuse_move(added.id),
        lambda: books.destinations.edit(added, moved(added), books.capabilities, now_micros=0),
    ):
        with pytest.raises(BadRequest, match=f"manual export {number} is under way"):
            refused()
    ManualExports(books.engine, books.clock).cancel(number)
    books.destinations.edit(added, moved(added), books.capabilities, now_micros=0)


def test_a_hold_lets_nothing_be_taken_and_runs_out_by_itself(books: Books) -> None:
    added, other = books.active(bucket="one"), books.active(bucket="two")
    books.seal(books.today)
    in_work = books.held()
    start_export(books, added)
    books.destinations.hold(added.id, 1000)
    books.destinations.hold(other.id, 1000)
    assert books.claim() is None
    assert (
        books.ledger.claim_manual(
            now_micros=999, lease_micros=5, destination_limit=9, manual_limit=9
        )
        is None
    )
    with pytest.raises(Halted, match="is being changed"):
        books.ledger.renew(in_work, 5000, now_micros=999)
    books.ledger.renew(in_work, 5000, now_micros=1000)
    assert books.held(1000).destination_id != in_work.destination_id
    books.destinations.release(added.id)
    books.ledger.renew(in_work, 5000, now_micros=999)


def test_a_hold_of_a_clock_that_went_back_is_ended(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    books.destinations.hold(added.id, 10**15)
    assert books.claim() is None
    assert books.ledger.wake_beyond(LATER) == 1
    books.held()


def test_access_and_content_change_while_runs_are_in_work(books: Books) -> None:
    added = books.active()
    books.seal(books.today)
    held = books.held()
    key = moved(added, bucket="acme", access_key_id="AK", secret_encrypted=b"x", marker=False)
    assert books.destinations.edit(added, key, books.capabilities, now_micros=1) == ()
    books.deliver(held)
    now = books.destinations.get(added.id)
    assert (now.access_key_id, now.marker, now.manifest) == ("AK", False, True)
    assert books.destinations.earlier_places(added.id) == []
    trail = entries(books.engine, of=f"destination {added.id}")[0]
    assert (trail.what, trail.detail["access_key_id"]) == ("edited", "AK")
    assert "secret_encrypted" not in trail.detail


def test_a_change_of_what_has_changed_meanwhile_is_refused(books: Books) -> None:
    added = books.active()
    books.destinations.edit(added, moved(added), books.capabilities, now_micros=0)
    with pytest.raises(BadRequest, match="someone else has changed it meanwhile"):
        books.destinations.edit(
            added, moved(added, bucket="third"), books.capabilities, now_micros=0
        )


def test_another_encryption_leaves_place_and_runs_and_is_seen_by_who_edits_later(
    books: Books,
) -> None:
    added = books.active()
    hour = books.today
    books.seal(hour)
    wanted = moved(added, bucket="acme", encryption="aws:kms", kms_key_arn="key")
    assert books.destinations.edit(added, wanted, books.capabilities, now_micros=0) == ()
    now = books.destinations.get(added.id)
    assert (now.encryption, now.kms_key_arn) == ("aws:kms", "key")
    assert books.destinations.earlier_places(added.id) == []
    trail = entries(books.engine, of=f"destination {added.id}")[0]
    assert trail.detail["fields"] == ["encryption", "kms_key_arn"]
    with pytest.raises(BadRequest, match="someone else has changed it meanwhile"):
        books.destinations.edit(added, moved(added), books.capabilities, now_micros=0)


def test_a_bucket_of_another_organization_is_refused_also_when_edited(books: Books) -> None:
    rival = books.add_project(books.add_organization("Rival"))
    theirs = books.active(bucket="theirs", project=rival)
    added = books.active()
    wanted = moved(added, bucket="theirs")
    for refused in (
        lambda: books.destinations.refuse_bucket(wanted),
        lambda: books.destinations.edit(added, wanted, books.capabilities, now_micros=0),
    ):
        with pytest.raises(BadRequest, match="another organization") as refusal:
            refused()
        assert "Rival" not in str(refusal.value)
    # Once they are gone from it, it is free; and so is the one that is left.
    books.destinations.delete(theirs.id, aborted=(), now_micros=0)
    books.destinations.edit(added, wanted, books.capabilities, now_micros=0)
    books.active(project=rival)


def test_a_deleted_destination_owes_nothing_and_keeps_its_history(books: Books) -> None:
    added = books.active()
    hours = [books.today, books.today.next()]
    books.seal(*hours)
    books.deliver(books.held())
    number = start_export(books, added)

    done = books.destinations.delete(added.id, aborted=(), now_micros=0)

    assert (done.runs, done.manual_exports) == (1, 0)
    assert done.destination.state == "deleted"
    assert done.destination.deleted_micros == books.clock.now_micros()
    assert books.states() == {
        (added.id, "events", hours[1]): "success",
        (added.id, "events", hours[0]): "cancelled",
    }
    assert ManualExports(books.engine, books.clock).get(number).state == "finished"
    books.seal(books.today.plus(2))
    assert books.claim() is None
    assert books.ledger.check_derived() == 0
    assert books.destinations.list() == []
    assert books.destinations.list(states=(*LIVING_STATES, "deleted")) == [done.destination]
    assert entries(books.engine, of=f"destination {added.id}")[0].what == "deleted"


def test_deleting_ends_manual_exports_and_forgets_the_secret(books: Books) -> None:
    added = books.active()
    key = moved(added, bucket="acme", access_key_id="AK", secret_encrypted=b"x")
    books.destinations.edit(added, key, books.capabilities, now_micros=0)
    books.seal(books.today.plus(-3))
    number = start_export(books, added)
    done = books.destinations.delete(added.id, aborted=(), now_micros=0)
    assert (done.runs, done.manual_exports) == (1, 1)
    assert ManualExports(books.engine, books.clock).get(number).state == "cancelled"
    assert (done.destination.access_key_id, done.destination.secret_encrypted) == ("AK", None)


def test_nothing_can_be_done_to_a_deleted_destination(books: Books) -> None:
    added = books.active()
    books.destinations.delete(added.id, aborted=(), now_micros=0)
    gone = books.destinations.get(added.id)
    for refused in (
        lambda: books.destinations.activate(added.id, books.capabilities),
        lambda: books.destinations.pause(added.id),
        lambda: books.destinations.delete(added.id, aborted=(), now_micros=0),
        lambda: books.destinations.edit(gone, moved(gone), books.capabilities, now_micros=0),
        lambda: books.destinations.hold(added.id, 5),
        lambda: books.destinations.set_interval(added.id, books.today, None),
    ):
        with pytest.raises(BadRequest, match="is deleted"):
            refused()
    with pytest.raises(BadRequest, match="deleted"):
        start_export(books, added)


def test_files_that_only_a_deleted_destination_missed_may_go(books: Books) -> None:
    kept, gone = books.active(bucket="one"), books.active(bucket="two")
    books.destinations.pause(gone.id)
    books.seal(books.today)
    books.deliver(books.held())
    assert books.ledger.removable_files(5) == [], "it is missed by the paused one"
    books.destinations.delete(gone.id, aborted=(), now_micros=0)
    assert [file.hour for file in books.ledger.removable_files(5)] == [books.today]
    assert books.destinations.list() == [kept]
