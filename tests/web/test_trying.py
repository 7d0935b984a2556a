"""The failure page's "Try now": what waits is tried at once, where and by whom it may be."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.app.failures import failure_name
from tailrace.state.delivery import Destination
from tailrace.state.ledger_view import LedgerView
from tailrace.state.manual_exports import ManualExports, NewManualExport
from tailrace.state.troubles import troubles
from tests.web.conftest import Place
from tests.web.failing import BUSY, MINUTE, OTHER, REFUSED, Exports
from tests.web.failing import exports as exports

TRIED = "Being tried now"


def test_what_waits_is_tried_at_once_and_the_page_says_so(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour, exports.hour.plus(-1))
    for _ in range(2):
        exports.ledger.retry(exports.held(), BUSY, exports.clock.now_micros() + 5 * MINUTE)
    path = exports.path(destination, failure_name(BUSY))
    page = exports.dana.get(path)
    assert "Try now tries the 2 hours that wait at once and does not wait until" in page.text
    # The button belongs to a form of its own: that of the checks would run them.
    assert page.all("button", form="retry")
    assert page.all("form", id="retry")[0]["action"] == f"{path}/retry"

    assert exports.dana.post(f"{path}/retry").location == path

    page = exports.dana.get(path)
    assert "Being tried now" in page.text
    assert not page.all("button", form="retry")
    # While it is, it is not mended yet.
    taken = [exports.held(), exports.held()]
    assert [one.attempts for one in taken] == [2, 2]
    assert "Being tried now" in exports.dana.get(path).text
    exports.ledger.retry(taken[0], BUSY, exports.clock.now_micros() + 5 * MINUTE)
    exports.ledger.file_delivered(taken[1], 1, "k", "put", 7)
    exports.ledger.succeeded(taken[1], 8)
    assert "Try now tries the hour that waits at once" in exports.dana.get(path).text
    activity = exports.dana.get(path.partition("/failures")[0] + "/activity")
    assert "dana@acme.example Tried again what waited 2 runs: S3 is busy" in activity.text


def test_a_conflict_is_tried_once_a_person_says_so(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.conflict(exports.held(), OTHER, "raw/y")
    path = exports.path(destination, failure_name(OTHER))
    assert "Try now tries the hour that waits at once." in exports.dana.get(path).text
    exports.dana.post(f"{path}/retry")
    assert exports.held().hour == exports.hour


def test_refused_access_is_checked_and_not_tried(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour, exports.hour.plus(-1), exports.hour.plus(-2))
    later = exports.clock.now_micros() + 5 * MINUTE
    exports.ledger.retry(exports.held(), REFUSED, later)
    exports.ledger.retry(exports.held(), BUSY, later)
    refused = exports.path(destination, failure_name(REFUSED))
    assert not exports.dana.get(refused).all("button", form="retry")
    assert "check it again" in exports.dana.post(f"{refused}/retry", status=400).text
    # Once it is given up, nothing else is tried either.
    busy = exports.path(destination, failure_name(BUSY))
    assert exports.dana.get(busy).all("button", form="retry")
    exports.refuse()
    page = exports.dana.get(busy)
    assert not page.all("button", form="retry")
    assert "Will retry at" not in page.text
    assert "its access is refused" in exports.dana.post(f"{busy}/retry", status=400).text
    assert exports.ledger.claim(now_micros=0, lease_micros=1, destination_limit=9) is None


def test_what_is_switched_off_is_not_offered_to_be_tried(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    later = exports.clock.now_micros() + 5 * MINUTE
    exports.ledger.retry(exports.held(), BUSY, later)
    exports.destinations.pause(destination.id)
    path = exports.path(destination, failure_name(BUSY))
    assert not exports.dana.get(path).all("button", form="retry")
    exports.dana.post(f"{path}/retry")
    page = exports.dana.get(path)
    assert "Waits" in page.text
    assert "Will retry at" not in page.text
    (run,) = LedgerView(exports.place.engine, exports.clock).runs(destination_id=destination.id)
    assert run.due_micros == later


class TestTriedNow:
    """*Being tried now* is said only of what is tried, or is next."""

    @pytest.fixture
    def destination(self, exports: Exports) -> Destination:
        return exports.add()

    @pytest.fixture
    def path(self, exports: Exports, destination: Destination) -> str:
        """Return the page of a cause that two hours met, and that was told to be tried now."""
        exports.seal(exports.hour, exports.hour.plus(-1))
        for _ in range(2):
            exports.ledger.retry(exports.held(), BUSY, exports.clock.now_micros() + 5 * MINUTE)
        path = exports.path(destination, failure_name(BUSY))
        exports.dana.post(f"{path}/retry")
        assert TRIED in exports.dana.get(path).text
        return path

    def test_not_of_a_destination_that_was_paused_since(
        self, exports: Exports, destination: Destination, path: str
    ) -> None:
        exports.destinations.pause(destination.id)
        page = exports.dana.get(path)
        assert TRIED not in page.text
        assert "It is being tried now" not in page.text
        assert "Waits" in page.text
        assert "Will retry at" not in page.text

    def test_of_a_run_that_was_in_work_when_it_was_paused(
        self, exports: Exports, destination: Destination, path: str
    ) -> None:
        held = exports.held()
        exports.destinations.pause(destination.id)
        assert TRIED in exports.dana.get(path).text
        # Its holder died, and nobody takes it over.
        exports.ledger.release_leases()
        assert held.attempts == 2
        assert exports.ledger.claim(now_micros=0, lease_micros=1, destination_limit=9) is None
        assert TRIED not in exports.dana.get(path).text

    def test_not_once_access_is_refused(
        self, exports: Exports, destination: Destination, path: str
    ) -> None:
        exports.seal(exports.hour.plus(1))
        exports.refuse()
        assert exports.ledger.claim(now_micros=0, lease_micros=1, destination_limit=9) is None
        page = exports.dana.get(path)
        assert TRIED not in page.text
        assert "Waits" in page.text
        (outage,) = troubles(exports.place.engine, destination.id).outages
        assert TRIED not in exports.dana.get(exports.path(destination, str(outage.id))).text

    def test_not_of_a_manual_export_that_was_paused_since(
        self, exports: Exports, destination: Destination
    ) -> None:
        book = ManualExports(exports.place.engine, exports.clock, by="dana@acme.example")
        first = exports.hour.plus(-48)
        exports.seal(first)
        asked = NewManualExport(
            destination_id=destination.id,
            from_hour=first,
            until_hour=first.next(),
            include_events=True,
            include_merged_ids=False,
        )
        export = book.start(asked)
        # A destination whose automatic exports are off is exported to by hand all the same.
        exports.destinations.pause(destination.id)
        limits: dict[str, Any] = {"destination_limit": 9, "manual_limit": 9}
        held = exports.ledger.claim_manual(now_micros=0, lease_micros=MINUTE, **limits)
        assert held is not None
        exports.ledger.retry(held, BUSY, exports.clock.now_micros() + 5 * MINUTE)
        path = exports.path(destination, failure_name(BUSY))
        exports.dana.post(f"{path}/retry")
        assert TRIED in exports.dana.get(path).text
        book.pause(export.id)
        assert exports.ledger.claim_manual(now_micros=0, lease_micros=1, **limits) is None
        assert TRIED not in exports.dana.get(path).text
        book.resume(export.id)
        assert TRIED in exports.dana.get(path).text


def test_who_only_looks_has_nothing_tried(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.retry(exports.held(), BUSY, exports.clock.now_micros() + 5 * MINUTE)
    path = exports.path(destination, failure_name(BUSY))
    member = exports.visitor("member")
    assert not member.get(path).all("button", form="retry")
    member.post(f"{path}/retry", status=403)
    assert "Will retry at" in exports.dana.get(path).text


def test_a_failure_of_another_destination_or_organization_is_not_there_to_be_tried(
    place: Place, exports: Exports
) -> None:
    destination, other = exports.add(bucket="one"), exports.add(bucket="other")
    exports.seal(exports.hour)
    later = exports.clock.now_micros() + 5 * MINUTE
    held = exports.held()
    assert held.destination_id == destination.id
    exports.ledger.retry(held, BUSY, later)
    name = failure_name(BUSY)
    exports.dana.post(f"{exports.path(other, name)}/retry", status=404)
    globex = place.add_organization("Globex")
    theirs = place.add_project(globex, "Reactor").project_id
    place.add("ann@globex.example", "admin", globex)
    ann = place.visitor("ann@globex.example")
    for project in (place.project, theirs):
        ann.post(f"/p/{project}/destinations/{destination.id}/failures/{name}/retry", status=404)
    # An outage of the other one, under its number.
    exports.refuse()
    (outage,) = troubles(place.engine, other.id).outages
    exports.dana.post(f"{exports.path(destination, str(outage.id))}/retry", status=404)
    assert "Will retry at" in exports.dana.get(exports.path(destination, name)).text


def test_one_that_was_mended_meanwhile_leads_to_its_page(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.retry(exports.held(), BUSY, 1)
    held = exports.ledger.claim(now_micros=1, lease_micros=MINUTE, destination_limit=9)
    assert held is not None
    exports.ledger.file_delivered(held, 1, "k", "put", 7)
    exports.ledger.succeeded(held, 8)
    path = exports.path(destination, failure_name(BUSY))
    assert exports.dana.post(f"{path}/retry").location == path
    assert "This is mended" in exports.dana.get(path).text
