"""Whoever has a sign-in link chooses a password and is in; a link that does not hold says so."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tailrace.accounts.people import set_password
from tailrace.accounts.sign_in_links import LIFETIME_MICROS, make_operators_link
from tailrace.errors import Transient
from tailrace.state.audit import entries
from tailrace.web import joining
from tailrace.web.attempts import ALLOWED, REFILL_MICROS
from tests.web.conftest import ADDRESS, PASSWORD, Place, Visitor
from tests.web.joining import DANA, KIM, NEW, PEOPLE, invite, join, link_in, path_in


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add(DANA)
    return place.visitor(DANA)


def test_an_invited_person_chooses_a_password_and_is_signed_in(place: Place, dana: Visitor) -> None:
    shown = invite(dana)
    link = link_in(shown)
    assert link.startswith(f"{ADDRESS}/join/")
    assert "Copy it and hand it over: it is shown once." in shown.text
    assert "It works once, until 2027-01-22 08:00 UTC." in shown.text
    listed = dana.get(PEOPLE).text
    assert link not in listed
    assert f"{KIM} sign-in link until 2027-01-22 08:00 UTC" in listed

    kim, path = place.visitor(), path_in(shown)
    form = kim.get(path)
    assert f"as {KIM} of Acme." in form.text
    assert form.field("email") == KIM
    done = join(kim, path)
    assert done.location == "/"
    assert f"{KIM} (you)" in kim.get(PEOPLE).text
    place.visitor().sign_in(KIM, NEW)
    assert "sign-in link until" not in dana.get(PEOPLE).text


def test_a_link_that_does_not_hold_gets_one_page_that_says_what_to_do(
    place: Place, dana: Visitor
) -> None:
    used, old = path_in(invite(dana)), path_in(invite(dana, "lee@acme.example"))
    join(place.visitor(), used)
    place.machine_clock.advance(LIFETIME_MICROS)
    visitor = place.visitor()
    said = set()
    for path in (used, old, "/join/" + "0" * 64, "/join/x"):
        said.add(visitor.get(path, 404).text)
        said.add(visitor.post(path, {"password": NEW, "again": NEW}, status=404).text)
    (text,) = said
    assert "Ask an admin of your organization, or whoever runs tailrace, for a new one." in text


@pytest.mark.parametrize(
    ("password", "again", "said"),
    [
        ("short", "short", "12 to 1024 characters"),
        (KIM, KIM, "it is the e-mail address"),
        (NEW, NEW + "!", "The two passwords differ."),
    ],
)
def test_a_password_is_chosen_by_the_same_rules_as_elsewhere(
    place: Place, dana: Visitor, password: str, again: str, said: str
) -> None:
    path = path_in(invite(dana))
    fields = {"password": password, "again": again}
    shown = place.visitor().post(path, fields, status=422)
    assert said in shown.text
    join(place.visitor(), path)


def test_what_the_form_says_of_the_address_changes_nothing(place: Place, dana: Visitor) -> None:
    path = path_in(invite(dana))
    fields = {"email": DANA, "password": NEW, "again": NEW}
    kim = place.visitor()
    kim.post(path, fields)
    assert f"{KIM} (you)" in kim.get(PEOPLE).text
    place.visitor().sign_in(DANA, PASSWORD)


def test_trying_passwords_at_a_link_is_limited_as_at_the_sign_in(
    place: Place, dana: Visitor
) -> None:
    path = path_in(invite(dana))
    visitor = place.visitor()
    for _ in range(ALLOWED):
        visitor.post(path, {"password": "short", "again": "short"}, status=422)
    refused = visitor.post(path, {"password": NEW, "again": NEW}, status=429)
    assert "Wait 1 minute," in refused.text
    assert refused.answer.headers["retry-after"] == "60"
    place.machine_clock.advance(REFILL_MICROS)
    join(visitor, path)


def test_another_theme_leads_back_to_a_link_whose_form_was_refused(
    place: Place, dana: Visitor
) -> None:
    path = path_in(invite(dana))
    # The browser leaves out the path, which has the token.
    from_here = {"Referer": f"{ADDRESS}/"}
    refused = place.visitor().post(path, {"password": "short"}, status=422, headers=from_here)
    assert refused.field("back") == path


def test_no_answer_lets_the_token_out(place: Place, dana: Visitor) -> None:
    path = path_in(invite(dana))
    visitor = place.visitor()
    for shown in (
        visitor.get(path),
        visitor.post(path, {"password": "short"}, status=422),
        visitor.get("/join/" + "0" * 64, 404),
    ):
        # "strict-origin" tells the host alone; with "no-referrer" forms would have no origin.
        assert shown.answer.headers["referrer-policy"] == "strict-origin"
        assert shown.answer.headers["cache-control"] == "no-store"
    # Browsers that say no more of a form than its origin are let in.
    form = visitor.get(path)
    answer = visitor.client.post(
        path,
        data={"form_token": form.field("form_token"), "password": NEW, "again": NEW},
        headers={"Origin": ADDRESS},
        follow_redirects=False,
    )
    assert answer.status_code == 303


def test_no_error_lets_the_token_out_either(
    place: Place, dana: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_in(invite(dana))
    client = place.visitor().client

    def be_busy(*_: object, **__: object) -> None:
        raise Transient("later")

    answers = [
        client.post(path, data={"form_token": "00"}),
        client.put(path),
        client.get(path + "/", follow_redirects=False),
        client.get(path + "/more"),
        client.get(path.replace("join", "%6aoin")),
    ]
    with monkeypatch.context() as broken:
        broken.setattr(joining, "find_link", be_busy)
        answers.append(client.get(path))
    # A redirect's is what holds for the page that it leads to.
    form = place.visitor()
    fields = {"password": NEW, "again": NEW, "form_token": form.get(path).field("form_token")}
    answers.append(form.client.post(path, data=fields, follow_redirects=False))
    assert [one.status_code for one in answers] == [403, 405, 307, 404, 200, 503, 303]
    assert {one.headers["referrer-policy"] for one in answers} == {"strict-origin"}
    assert {one.headers["cache-control"] for one in answers} == {"no-store"}
    assert client.get("/joining").headers["referrer-policy"] == "same-origin"


def test_a_form_of_another_site_uses_no_link(place: Place, dana: Visitor) -> None:
    path = path_in(invite(dana))
    fields = {"password": NEW, "again": NEW}
    place.visitor().post(path, fields, status=403, headers={"Sec-Fetch-Site": "cross-site"})
    place.visitor().post(path, fields, status=403, token="00")
    join(place.visitor(), path)


@pytest.mark.parametrize("error", [Transient("later"), LookupError("a defect")])
def test_neither_the_trail_nor_the_log_has_the_token(
    place: Place, dana: Visitor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = path_in(invite(dana))
    token = path.rpartition("/")[2]

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr(joining, "find_link", fail)
        answer = place.visitor().client.get(path)
    assert answer.status_code in (500, 503)
    assert [one["path"] for one in logged] == ["/join/TOKEN"]
    join(place.visitor(), path)
    assert token not in str(entries(place.engine))
    assert NEW not in str(entries(place.engine))


def test_who_is_signed_in_as_somebody_else_is_told_so_and_is_the_other_then(
    place: Place, dana: Visitor
) -> None:
    path = path_in(invite(dana))
    assert f"You are signed in as {DANA}" in dana.get(path).text
    earlier = place.visitor()
    earlier.client.cookies.set("tailrace_session", dana.client.cookies["tailrace_session"])
    join(dana, path)
    assert f"{KIM} (you)" in dana.get(PEOPLE).text
    earlier.get(PEOPLE, 303)


def test_a_password_that_is_set_otherwise_voids_the_link(place: Place, dana: Visitor) -> None:
    path = path_in(invite(dana))
    site = place.site
    set_password(place.engine, KIM, PASSWORD, passwords=site.passwords, clock=site.clock)
    place.visitor().get(path, 404)


def test_the_operators_link_opens_the_same_page(place: Place, dana: Visitor) -> None:
    made = make_operators_link(
        place.engine, DANA, ids=place.site.ids, clock=place.site.clock, machine=place.machine_clock
    )
    join(place.visitor(), f"/join/{made.token}")
    dana.get(PEOPLE, 303)


def test_an_admin_is_told_who_can_replace_the_operators_link(place: Place, dana: Visitor) -> None:
    invite(dana)
    made = make_operators_link(
        place.engine, KIM, ids=place.site.ids, clock=place.site.clock, machine=place.machine_clock
    )
    shown = dana.post(f"{PEOPLE}/link", {"email": KIM}, status=422)
    assert f"Cannot make a sign-in link for {KIM}: one that whoever runs tailrace" in shown.text
    join(place.visitor(), f"/join/{made.token}")
    link_in(dana.post(f"{PEOPLE}/link", {"email": KIM}, status=200))
