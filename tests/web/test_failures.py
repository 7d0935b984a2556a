"""The failure page: one for each cause, what it says of it, and how it heals."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.app.destinations import open_secrets
from tailrace.app.failures import failure_name
from tailrace.demo import seaweed
from tailrace.export import policy
from tailrace.settings import AwsSettings, DiskSettings, ExportSettings, Settings
from tailrace.state.database import writing
from tailrace.state.delivery import Cause, Destination
from tailrace.state.mails import NewMail, keep_mail
from tailrace.state.troubles import troubles
from tests.export.conftest import clean_environment as clean_environment
from tests.web.conftest import Place
from tests.web.failing import BUSY, CLOCK, MINUTE, OTHER, PREFIX, REFUSED, Exports
from tests.web.failing import exports as exports

ARN = "arn:aws:iam::111122223333:role/tailrace"


@pytest.fixture
def settings() -> Settings:
    return Settings(
        aws=AwsSettings(principal_arn=ARN), export=ExportSettings(private_endpoints=True)
    )


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


def test_the_mail_about_a_conflict_stands_on_its_page(exports: Exports) -> None:
    destination = exports.add()
    exports.seal(exports.hour)
    exports.ledger.conflict(exports.held(), OTHER, "raw/y")
    with writing(exports.place.engine) as connection:
        for number, minutes in enumerate((-60, 1)):
            new = NewMail(
                kind="conflict",
                subject=f"Objects {number}",
                text="",
                html="",
                recipients=("ann@acme.example",),
                organization=exports.place.organization,
                destination_id=destination.id,
            )
            made = exports.clock.now_micros() + minutes * MINUTE
            keep_mail(connection, new, made_micros=made, message_id=f"<{number}@x>")
    page = exports.dana.get(exports.dana.get(exports.path(destination), 303).location)
    assert "Objects 1" in page.text
    assert "Objects 0" not in page.text, "it was about another conflict"


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


def add_at(server: seaweed.Seaweed, place: Place, exports: Exports) -> Destination:
    """Add a destination for a new bucket at a real store, whose policy lets nobody in."""
    bucket = f"acme-{place.site.ids.random_bytes(6).hex()}"
    server.create_bucket(bucket)
    return exports.add(
        bucket=bucket,
        endpoint_url=server.endpoint_url,
        access_key_id=server.exporter.access_key_id,
        secret_encrypted=open_secrets(place.site.folder).encrypt(server.exporter.secret_access_key),
    )


class TestAtAStore:
    """Checks of a real store that enforces policies."""

    def test_check_again_names_what_is_missing_and_heals_what_is_mended(
        self, place: Place, exports: Exports, server: seaweed.Seaweed
    ) -> None:
        destination = add_at(server, place, exports)
        bucket = destination.bucket
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

    def test_check_again_ends_the_outage_of_a_paused_destination_too(
        self, place: Place, exports: Exports, server: seaweed.Seaweed
    ) -> None:
        destination = add_at(server, place, exports)
        server.put_policy(destination.bucket, seaweed.export_policy(PREFIX))
        exports.seal(exports.hour)
        exports.refuse()
        exports.destinations.pause(destination.id)
        page = exports.dana.post(
            exports.dana.get(exports.path(destination), 303).location, status=200
        )
        assert "Access is back" in page.text
        assert "the rest once automatic exports are on again" in page.text
        assert "going out now" not in page.text
        paused = exports.destinations.get(destination.id)
        assert (paused.state, paused.outage_since_micros) == ("paused", None)
        assert "Nothing is wrong" in exports.dana.get(exports.path(destination)).text

    def test_what_waits_for_its_next_try_goes_out_at_once(
        self, place: Place, exports: Exports, server: seaweed.Seaweed
    ) -> None:
        destination = add_at(server, place, exports)
        server.put_policy(destination.bucket, seaweed.export_policy(PREFIX))
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
