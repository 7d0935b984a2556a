"""The third step of a set-up: checks of a real store, streamed or whole, and what follows."""

from __future__ import annotations

import html
import threading

import pytest

from tailrace.demo import seaweed
from tailrace.errors import Transient
from tailrace.export import policy
from tailrace.hours import Hour
from tailrace.settings import ExportSettings, Settings, WebSettings
from tailrace.state.delivery import Capabilities, Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.drafts import Choices, Drafts
from tailrace.web import checking
from tests.export.conftest import Proxy
from tests.export.conftest import clean_environment as clean_environment
from tests.export.conftest import proxy as proxy
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting
from tests.web.reading import Read

PREFIX = "raw/"
STREAM = {"Accept": "text/html, text/event-stream"}


@pytest.fixture
def settings() -> Settings:
    return Settings(export=ExportSettings(private_endpoints=True), web=WebSettings(parts_page=True))


class SetUp:
    """A set-up whose destination is made, at a bucket that lets nobody in."""

    def __init__(self, place: Place, server: seaweed.Seaweed, name: str, endpoint: str) -> None:
        self.place, self.server, self.bucket = place, server, name
        server.create_bucket(name)
        place.add("dana@acme.example")
        self.visitor: Visitor = place.visitor("dana@acme.example")
        drafts = Drafts(place.engine, place.site.clock, by="dana@acme.example")
        number = drafts.begin(place.project, Choices()).id
        self.path = f"/p/{place.project}/setup/{number}/verify"
        typed = {
            "bucket": name,
            "region": seaweed.REGION,
            "prefix": PREFIX,
            "endpoint_url": endpoint,
            "access": "key",
            "access_key_id": server.exporter.access_key_id,
            "secret_access_key": server.exporter.secret_access_key,
            "principal": server.exporter_arn,
            "do": "next",
        }
        self.visitor.post(self.path.replace("/verify", "/policy"), typed)

    @property
    def destination(self) -> Destination:
        (found,) = Destinations(self.place.engine, self.place.site.clock).list()
        return found

    def allow(self, *actions: str) -> None:
        """Give the bucket a policy of these actions, or the whole one."""
        at = policy.place(
            bucket=self.bucket,
            prefix=PREFIX,
            principal=self.server.exporter_arn,
            endpoint_url=self.server.endpoint_url,
        )
        wanted = actions or tuple(grant.action for grant in policy.GRANTS)
        document = policy.Policy("2012-10-17", policy.statements(at, set(wanted)))
        self.server.put_document(self.bucket, policy.as_json(document))

    def check(self, **fields: str) -> Read:
        """Press the button, without script."""
        return self.visitor.post(self.path, fields, status=200)

    def stream(self, **fields: str) -> list[str]:
        """Follow the checks as the browser does; return each fragment."""
        answer = self.visitor.post(self.path, fields, status=200, headers=STREAM).answer
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [
            "\n".join(line.removeprefix("data: ") for line in message.split("\n"))
            for message in answer.text.split("\n\n")
            if message
        ]


@pytest.fixture
def set_up(place: Place, server: seaweed.Seaweed) -> SetUp:
    return SetUp(place, server, f"acme-{place.site.ids.random_bytes(6).hex()}", server.endpoint_url)


def test_a_bucket_that_lets_nobody_in_names_all_that_is_missing_at_once(set_up: SetUp) -> None:
    page = set_up.check()
    assert "refuses to let tailrace" in page.text
    assert "Add s3:ListBucket, s3:PutObject" in page.text
    assert set_up.destination.state == "setting_up"
    # The whole policy, with what is missing marked.
    added = page.answer.text.count("<ins>")
    assert added >= 2
    assert "Send this to an AWS admin" in page.text
    assert "Check again" in page.text


def test_the_policy_that_is_shown_makes_access_work(set_up: SetUp) -> None:
    page = set_up.check()
    _, _, text = page.answer.text.partition('<pre id="fix-policy"')
    text = text.partition("<code>")[2].partition("</code>")[0]
    document = html.unescape(text.replace("<ins>", "").replace("</ins>", ""))
    set_up.server.put_document(set_up.bucket, document)
    done = set_up.check()
    assert "Access works" in done.text
    assert "No hour of today is closed yet" in done.text
    assert set_up.destination.state == "active"
    # Whoever reloads the page sees the same, and no more checks begin.
    again = set_up.visitor.get(set_up.path)
    assert "Access works" in again.text
    assert not [one for one in again.all("form") if "load" in one.get("data-hx-trigger", "")]


def test_earlier_days_can_be_exported_too_and_the_form_is_filled_in(
    place: Place, set_up: SetUp
) -> None:
    today = Hour.of_micros(place.site.clock.now_micros()).day_start()
    sealing = Exporting(place.site, place.organization, place.project)
    # Before the first event there is nothing to export, and today goes out by itself.
    sealing.seal(today.plus(-100), lines=0)
    sealing.seal(today.plus(-50), today.plus(-49), today.plus(-1), today)
    set_up.allow()

    done = set_up.check()

    assert "Export earlier days too (3 hours)" in done.text
    (link,) = [one for one in done.links() if "/export" in one]
    form = set_up.visitor.get(link)
    assert form.field("first_date") == today.plus(-50).date
    assert form.field("last_date") == today.plus(-1).date
    assert [one["value"] for one in form.all("option") if "selected" in one] == ["", ""]
    # The stream ends with the same.
    assert "Export earlier days too (3 hours)" in set_up.stream()[-1]


def test_without_earlier_days_none_are_offered(place: Place, set_up: SetUp) -> None:
    today = Hour.of_micros(place.site.clock.now_micros()).day_start()
    sealing = Exporting(place.site, place.organization, place.project)
    sealing.seal(today.plus(-3), lines=0)
    sealing.seal(today)
    set_up.allow()
    done = set_up.check()
    assert "Access works" in done.text
    assert "earlier days" not in done.text


def test_checks_are_streamed_one_by_one_and_end_with_what_came_of_them(set_up: SetUp) -> None:
    set_up.allow()
    assert (
        "load"
        in set_up.visitor.get(set_up.path).all("form", action=set_up.path)[0]["data-hx-trigger"]
    )
    pieces = set_up.stream()
    assert 'class="running"' in pieces[0]
    assert pieces[0].count('class="waiting"') == 7
    assert "Find the bucket: works" in pieces[1]
    assert [piece.count('class="ok"') for piece in pieces[1:-1]] == sorted(
        piece.count('class="ok"') for piece in pieces[1:-1]
    )
    assert "Access works" in pieces[-1]
    assert 'class="waiting"' not in pieces[-1]
    assert set_up.destination.state == "active"


def test_one_missing_permission_is_one_failed_row(set_up: SetUp) -> None:
    set_up.allow("s3:ListBucket", "s3:GetObject", "s3:DeleteObject")
    last = set_up.stream()[-1]
    assert "s3:PutObject" in last
    assert last.count("<ins>") == 1
    assert 'class="skipped"' in last


def test_a_wrong_region_is_answered_with_one_click(
    place: Place, server: seaweed.Seaweed, proxy: Proxy
) -> None:
    name = f"acme-{place.site.ids.random_bytes(6).hex()}"
    set_up = SetUp(place, server, name, proxy.url)
    set_up.allow()
    header = (("x-amz-bucket-region", "eu-central-1"),)
    proxy.add("HEAD", name, answer=(200, b""), headers=header)
    page = set_up.check()
    assert "The bucket lies in another region" in page.text
    (button,) = page.all("button", name="region")
    assert button["value"] == "eu-central-1"
    proxy.add("HEAD", name, answer=(200, b""), headers=header)
    done = set_up.check(region=button["value"])
    assert "Access works" in done.text
    assert set_up.destination.region == "eu-central-1"


def test_a_store_that_is_not_there_is_told_and_nothing_is_lost(set_up: SetUp) -> None:
    policy_step = set_up.path.replace("/verify", "/policy")
    typed = {
        "bucket": set_up.bucket,
        "region": "us-east-1",
        "endpoint_url": "http://127.0.0.1:9",
        "access": "key",
        "access_key_id": set_up.server.exporter.access_key_id,
        "do": "next",
    }
    set_up.visitor.post(policy_step, typed)
    page = set_up.check()
    assert "The store can&#39;t be reached" in page.answer.text
    assert page.text.count("Not tried") == 7
    assert set_up.destination.state == "setting_up"


def test_trouble_on_the_way_ends_the_stream_with_words(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Transient("The database hangs. Try again.")

    monkeypatch.setattr("tailrace.web.setup_verify.verify_destination", broken)
    last = set_up.stream()[-1]
    assert "tailrace is busy" in last
    assert "The database hangs. Try again." in last
    assert "Check again" in last
    # As a page it is the frame's own answer.
    set_up.visitor.post(set_up.path, status=503)


def test_a_bucket_that_another_organization_made_its_own_meanwhile_is_told_without_its_name(
    place: Place, set_up: SetUp
) -> None:
    globex = place.add_organization("Globex")
    destinations = Destinations(place.engine, place.site.clock)
    new = NewDestination(
        project=place.add_project(globex, "Reactor").project_id,
        bucket=set_up.bucket,
        endpoint_url=set_up.server.endpoint_url,
    )
    able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    destinations.activate(destinations.add(new).id, able)
    set_up.allow()

    last = set_up.stream()[-1]
    whole = set_up.visitor.post(set_up.path, status=400)

    for text in (last, whole.text):
        assert "another organization on this installation exports to it" in text
        assert "Globex" not in text
    assert destinations.list(project=place.project)[0].state == "setting_up"


def test_only_so_many_checks_run_at_once_and_each_that_ends_makes_room(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_free", threading.BoundedSemaphore(1))
    set_up.allow()
    set_up.stream()
    set_up.check()
    with checking._free:
        set_up.visitor.post(set_up.path, status=503, headers=STREAM)
        set_up.visitor.post(set_up.path, status=503)
    set_up.check()


def test_a_set_up_without_a_bucket_leads_back_one_step(place: Place) -> None:
    place.add("dana@acme.example")
    dana = place.visitor("dana@acme.example")
    draft = Drafts(place.engine, place.site.clock).begin(place.project, Choices()).id
    path = f"/p/{place.project}/setup/{draft}"
    assert dana.get(f"{path}/verify", 303).location == f"{path}/policy"
    dana.post(f"{path}/verify", status=400)
