"""The failure page: one for each cause, what it says of it, and how it heals."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from tailrace.accounts.roles import Role
from tailrace.app.destinations import open_secrets
from tailrace.app.failures import failure_name
from tailrace.clock import MICROS
from tailrace.demo import seaweed
from tailrace.export import policy
from tailrace.hours import Hour
from tailrace.settings import AwsSettings, DiskSettings, ExportSettings, Settings
from tailrace.state.database import writing
from tailrace.state.delivery import Capabilities, Cause, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.mails import NewMail, keep_mail
from tailrace.state.sealed import SealedFile, SealedHour
from tailrace.state.troubles import troubles
from tests.export.conftest import clean_environment as clean_environment
from tests.web.conftest import Place, Visitor

ARN = "arn:aws:iam::111122223333:role/tailrace"
PREFIX = "raw/"
MINUTE = 60 * MICROS
ABLE = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
REFUSED = Cause(
    kind="access",
    code="AccessDenied",
    sentence="Cannot write to s3://acme/raw/x: S3 answered 403 AccessDenied to PutObject.",
    fix="Add s3:PutObject to the policy of the bucket.",
    permission="s3:PutObject",
    call="PutObject",
    key="raw/x",
    status=403,
    request_id="REQ7",
    missing_actions=("s3:PutObject",),
    title="S3 refuses to let tailrace write to this bucket",
)
BUSY = Cause("temporary", "SlowDown", "S3 answered 503.", "Nothing.", title="S3 is busy")
CLOCK = Cause("operator", "RequestTimeTooSkewed", "Skewed.", "Set it.", title="The clock is wrong")
OTHER = Cause("conflict", "Conflict", "Other content.", "Move it.", key="raw/y", title="Conflict")


@pytest.fixture
def settings() -> Settings:
    return Settings(
        aws=AwsSettings(principal_arn=ARN), export=ExportSettings(private_endpoints=True)
    )


class Exports:
    """A destination of the place's project, and its hours."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.clock: Any = place.site.clock
        self.ledger = Ledger(place.engine, self.clock)
        self.destinations = Destinations(place.engine, self.clock, by="dana@acme.example")
        self.hour = Hour.of_micros(self.clock.now_micros()).plus(-1)
        place.add("dana@acme.example")
        self.dana: Visitor = place.visitor("dana@acme.example")

    def add(self, **changes: Any) -> Destination:
        new = {"bucket": "acme", "region": "us-east-1", "prefix": PREFIX, **changes}
        added = self.destinations.add(NewDestination(project=self.place.project, **new))
        return self.destinations.activate(added.id, ABLE)

    def seal(self, *hours: Hour) -> None:
        for hour in hours:
            scope = self.place.project
            name = f"{scope}_{hour.date}_{hour.of_day}#1.json.gz"
            file = SealedFile(scope, hour, 1, name, 1000, "0" * 64, 1, 10, 5000)
            record = f"{hour}".encode()
            digest = hashlib.sha256(record).hexdigest()
            made = SealedHour(scope, self.place.organization, hour, record, digest, (file,))
            self.ledger.add_hours([made])

    def held(self) -> Any:
        held = self.ledger.claim(now_micros=0, lease_micros=MINUTE, destination_limit=9)
        assert held is not None
        return held

    def refuse(self, cause: Cause = REFUSED) -> None:
        """Give the newest owed hour up, and with it the destination."""
        self.ledger.failed(self.held(), cause, next_probe_micros=self.clock.now_micros())

    def path(self, destination: Destination, name: str = "") -> str:
        base = f"/p/{self.place.project}/destinations/{destination.id}/failures"
        return f"{base}/{name}" if name else base

    def visitor(self, role: Role) -> Visitor:
        self.place.add(f"{role}@acme.example", role)
        return self.place.visitor(f"{role}@acme.example")


@pytest.fixture
def exports(place: Place) -> Exports:
    return Exports(place)


def test_without_trouble_the_page_says_so(exports: Exports) -> None:
    page = exports.dana.get(exports.path(exports.add()))
    assert "Nothing is wrong" in page.text


def test_an_outage_over_several_hours_is_one_failure(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(*(exports.hour.plus(-back) for back in range(4)))
    exports.refuse()
    exports.clock.advance(3 * 60 * MINUTE)
    (outage,) = troubles(exports.place.engine, destination.id).outages
    led = exports.dana.get(exports.path(destination), 303)
    assert led.location == exports.path(destination, str(outage.id))
    page = exports.dana.get(led.location)
    assert "S3 refuses to let tailrace write to this bucket" in page.text
    assert "Needs you" in page.text
    assert "4 hours affected" in page.text
    assert "4 hours, 40 events, 4.0 kB" in page.text
    assert ARN in page.text
    assert f"Who lacks it {ARN}" in page.text
    assert "Last worked never" in page.text
    for said in ("PutObject", "raw/x", "403 AccessDenied", "REQ7"):
        assert said in page.text
    # The whole policy, with the one line that is missing marked.
    assert page.answer.text.count("<ins>") == 1
    assert "Send this to an AWS admin" in page.text


def test_what_is_refused_but_not_given_up_says_when_it_is_tried_again(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    now = exports.clock.now_micros()
    exports.ledger.retry(exports.held(), REFUSED, now + 5 * MINUTE)
    page = exports.dana.get(exports.path(destination, failure_name(REFUSED)))
    at = exports.clock.now_micros() + 5 * MINUTE
    hour, minute = divmod(at // MINUTE % 1440, 60)
    assert f"Will retry at {hour:02}:{minute:02} UTC" in page.text
    assert "1 try" in page.text


@pytest.mark.parametrize(
    ("cause", "pill", "words"),
    [
        (BUSY, "Will retry at", "S3 is busy"),
        (CLOCK, "Needs whoever runs tailrace", "The clock is wrong"),
    ],
)
def test_each_cause_has_its_own_page(exports: Exports, cause: Cause, pill: str, words: str) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.retry(exports.held(), cause, exports.clock.now_micros() + MINUTE)
    led = exports.dana.get(exports.path(destination), 303)
    page = exports.dana.get(led.location)
    assert pill in page.text
    assert words in page.text
    # Nobody's bucket is probed by a look at what passes by itself.
    assert "load" not in page.all("form", action=led.location)[0]["data-hx-trigger"]


def test_a_conflict_names_the_object_and_both_ways_out(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.conflict(exports.held(), OTHER, "raw/y")
    page = exports.dana.get(exports.dana.get(exports.path(destination), 303).location)
    assert "Needs you" in page.text
    assert "raw/y" in page.text
    assert f"Tried as {ARN}" in page.text
    assert "Overwrite previously exported data" in page.text


def test_failures_of_other_causes_are_led_to_and_the_outage_comes_first(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour, exports.hour.plus(-1))
    exports.ledger.conflict(exports.held(), OTHER, "raw/y")
    exports.refuse()
    (outage,) = troubles(exports.place.engine, destination.id).outages
    led = exports.dana.get(exports.path(destination), 303)
    assert led.location.endswith(f"/{outage.id}")
    assert exports.path(destination, failure_name(OTHER)) in exports.dana.get(led.location).links()


def test_once_access_is_back_the_page_of_the_outage_is_green(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour, exports.hour.plus(-1))
    exports.refuse()
    path = exports.dana.get(exports.path(destination), 303).location
    exports.clock.advance(30 * MINUTE)
    exports.ledger.end_outage(destination.id)
    page = exports.dana.get(path)
    assert "Access is back" in page.text
    assert "for 30 minutes" in page.text
    assert "The 2 hours that waited are going out now." in page.text
    assert exports.dana.client.get(f"{path}/live?waiting=2").status_code == 204
    held = exports.held()
    exports.ledger.file_delivered(held, 1, "k", "put", 7)
    exports.ledger.succeeded(held, 8)
    live = exports.dana.get(f"{path}/live?waiting=2")
    assert "The one hour that waited is going out now." in live.text
    assert "Access is back" not in exports.dana.get(exports.path(destination)).text


def test_a_cause_that_nothing_meets_any_more_is_mended(exports: Exports) -> None:
    destination = exports.add()
    page = exports.dana.get(exports.path(destination, failure_name(BUSY)))
    assert "This is mended" in page.text


def test_addresses_of_mails_are_for_those_who_may_see_mails(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.refuse()
    path = exports.dana.get(exports.path(destination), 303).location
    new = NewMail(
        kind="outage",
        subject="Access to acme is refused",
        text="",
        html="",
        recipients=("secret@acme.example", "ann@acme.example"),
        organization=exports.place.organization,
        destination_id=destination.id,
        outage_id=int(path.rpartition("/")[2]),
    )
    with writing(exports.place.engine) as connection:
        made = exports.clock.now_micros()
        keep_mail(connection, new, made_micros=made, message_id="<1@x>")
    seen = exports.dana.get(path)
    assert "secret@acme.example (waiting)" in seen.text
    assert "The next reminder goes out after" in seen.text
    viewer = exports.visitor("viewer").get(path)
    assert "Access to acme is refused" in viewer.text
    assert "secret@acme.example" not in viewer.answer.text
    assert "2 people" in viewer.text


def test_viewers_see_the_page_and_may_not_check(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.refuse()
    path = exports.dana.get(exports.path(destination), 303).location
    viewer = exports.visitor("viewer")
    page = viewer.get(path)
    assert "Check again" not in [one.get("value") for one in page.all("button")]
    assert "Managers and admins of the organization can check it again." in page.text
    assert "load" not in page.all("form", action=path)[0]["data-hx-trigger"]
    viewer.post(path, status=403)


def test_a_destination_of_another_project_has_no_page_here(place: Place, exports: Exports) -> None:
    destination = exports.add()
    other = place.add_project(place.organization, "Other").project_id
    for path in ("failures", "failures/1", "failures/1/live"):
        exports.dana.get(f"/p/{other}/destinations/{destination.id}/{path}", 404)
    exports.dana.post(f"/p/{other}/destinations/{destination.id}/failures/1", status=404)


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
    assert not exports.dana.get(busy).all("button", form="retry")
    assert "its access is refused" in exports.dana.post(f"{busy}/retry", status=400).text
    assert exports.ledger.claim(now_micros=0, lease_micros=1, destination_limit=9) is None


def test_what_is_switched_off_is_not_offered_to_be_tried(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.retry(exports.held(), BUSY, exports.clock.now_micros() + 5 * MINUTE)
    exports.destinations.pause(destination.id)
    path = exports.path(destination, failure_name(BUSY))
    assert not exports.dana.get(path).all("button", form="retry")
    exports.dana.post(f"{path}/retry")
    assert "Will retry at" in exports.dana.get(path).text


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


class TestNearlyFull:
    """A disk that is at its end comes first."""

    @pytest.fixture
    def settings(self) -> Settings:
        # A reserve that no disk has.
        return Settings(disk=DiskSettings(second_percent=90, second_bytes=2**62))

    def test_the_page_begins_with_it(self, exports: Exports) -> None:
        destination = exports.add()
        exports.seal(exports.hour)
        exports.refuse()
        page = exports.dana.get(exports.dana.get(exports.path(destination), 303).location)
        assert page.text.index("The disk is nearly full") < page.text.index("What is missing")
        assert "Nothing is lost" not in page.text


class TestAtAStore:
    """Checks of a real store that enforces policies."""

    def test_check_again_names_what_is_missing_and_heals_what_is_mended(
        self, place: Place, exports: Exports, server: seaweed.Seaweed
    ) -> None:
        bucket = f"acme-{place.site.ids.random_bytes(6).hex()}"
        server.create_bucket(bucket)
        secret = open_secrets(place.site.folder).encrypt(server.exporter.secret_access_key)
        destination = exports.add(
            bucket=bucket,
            endpoint_url=server.endpoint_url,
            access_key_id=server.exporter.access_key_id,
            secret_encrypted=secret,
        )
        exports.seal(exports.hour, exports.hour.plus(-1))
        exports.refuse()
        path = exports.dana.get(exports.path(destination), 303).location
        assert "load" in exports.dana.get(path).all("form", action=path)[0]["data-hx-trigger"]
        page = exports.dana.post(path, status=200)
        assert "s3:ListBucket" in page.text
        assert page.all("li", class_="bad")
        assert exports.destinations.get(destination.id).outage_since_micros is not None
        at = policy.place(
            bucket=bucket,
            prefix=PREFIX,
            principal=server.exporter_arn,
            endpoint_url=server.endpoint_url,
        )
        server.put_document(bucket, policy.as_json(policy.bucket_policy(at)))
        stream = exports.dana.post(path, status=200, headers={"Accept": "text/event-stream"})
        pieces = [one for one in stream.answer.text.split("\n\n") if one]
        assert "Checking…" in pieces[0]
        assert "List the prefix: works" in pieces[2]
        assert "The 2 hours that waited are going out now." in pieces[-1]
        assert exports.destinations.get(destination.id).outage_since_micros is None
        assert exports.held() is not None

    def test_what_waits_for_its_next_try_goes_out_at_once(
        self, place: Place, exports: Exports, server: seaweed.Seaweed
    ) -> None:
        bucket = f"acme-{place.site.ids.random_bytes(6).hex()}"
        server.create_bucket(bucket)
        server.put_policy(bucket, seaweed.export_policy(PREFIX))
        secret = open_secrets(place.site.folder).encrypt(server.exporter.secret_access_key)
        destination = exports.add(
            bucket=bucket,
            endpoint_url=server.endpoint_url,
            access_key_id=server.exporter.access_key_id,
            secret_encrypted=secret,
        )
        exports.seal(exports.hour)
        exports.ledger.retry(exports.held(), REFUSED, 10 * MINUTE)
        page = exports.dana.post(exports.path(destination, failure_name(REFUSED)), status=200)
        assert "This is mended" in page.text
        assert exports.held().hour == exports.hour


def test_causes_differ_by_what_is_refused() -> None:
    other = msgspec.structs.replace(REFUSED, permission="s3:GetObject")
    assert failure_name(REFUSED) == "access-AccessDenied-s3-PutObject"
    assert failure_name(REFUSED) != failure_name(other)
    # A number is an outage's name, so none is a cause's.
    assert not failure_name(Cause("unknown", "400", "", "")).isdigit()
