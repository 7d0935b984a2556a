"""The first run: who may do it, once, and what it leaves behind."""

from __future__ import annotations

import pytest

from tailrace.accounts.first_run import TOKENS_MAX, first_run_path, new_token
from tailrace.accounts.membership import Person
from tailrace.accounts.people import people
from tailrace.accounts.projects import organizations, projects
from tailrace.state.audit import entries
from tailrace.state.database import reading
from tailrace.state.tables import first_run_token
from tests.web.conftest import ADDRESS, PASSWORD, Place

FIELDS = {
    "email": "dana@acme.example",
    "password": PASSWORD,
    "again": PASSWORD,
    "organization": "Acme Ltd",
    "project": "Shop (live)",
}


def _token(place: Place) -> str:
    place.machine_clock.advance(1)
    token = new_token(place.engine, ids=place.site.ids, clock=place.site.clock)
    assert token is not None
    return token


def _people(place: Place) -> list[Person]:
    return people(place.engine, place.organization)


def test_the_printed_link_makes_the_first_admin_and_is_void_afterwards(place: Place) -> None:
    earlier, token = _token(place), _token(place)
    visitor = place.visitor()
    shown = visitor.get(first_run_path(token))
    assert (shown.field("organization"), shown.field("project")) == ("Acme", "Shop")
    done = visitor.post("/first-run", {**FIELDS, "token": token})
    assert done.location == f"/p/{place.project}/first-event"
    page = visitor.get(done.location)
    assert place.made.api_key in page.text
    assert [(one.email, one.role) for one in _people(place)] == [("dana@acme.example", "admin")]
    assert organizations(place.engine)[0].name == "Acme Ltd"
    assert projects(place.engine)[0].name == "Shop (live)"
    for void in (earlier, token):
        place.visitor().get(first_run_path(void), 403)
        again = {**FIELDS, "token": void, "email": "mallory@evil.example"}
        place.visitor().post("/first-run", again, status=403)
    assert new_token(place.engine, ids=place.site.ids, clock=place.site.clock) is None
    with reading(place.engine) as connection:
        assert connection.execute(first_run_token.select()).all() == []
    place.visitor("dana@acme.example")


def test_without_the_right_token_there_is_no_first_run(place: Place) -> None:
    token = _token(place)
    for wrong in ("", "x", token[:-1], token.upper()):
        place.visitor().get(first_run_path(wrong), 403)
        place.visitor().post("/first-run", {**FIELDS, "token": wrong}, status=403)
    assert _people(place) == []


def test_no_server_is_told_the_token_of_the_page_before(place: Place) -> None:
    client = place.visitor().client
    for answer in (client.get("/first-run?token=00"), client.put("/first-run?token=00")):
        assert answer.headers["referrer-policy"] == "strict-origin"


def test_only_hashes_of_a_few_tokens_are_kept(place: Place) -> None:
    tokens = [_token(place) for _ in range(TOKENS_MAX + 2)]
    with reading(place.engine) as connection:
        rows = connection.execute(first_run_token.select()).all()
    assert len(rows) == TOKENS_MAX
    assert not any(token in str(rows) for token in tokens)
    place.visitor().get(first_run_path(tokens[0]), 403)
    place.visitor().get(first_run_path(tokens[-1]))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("email", "dana", "Cannot use the e-mail address 'dana'"),
        ("password", "short", "one has 12 to 1024 characters"),
        ("again", "another password", "The two passwords differ"),
        ("organization", " ", "Cannot name the organization"),
        ("project", "x" * 256, "Cannot name the project"),
    ],
)
def test_a_wrong_field_is_told_beside_it_and_nothing_is_changed(
    place: Place, field: str, value: str, words: str
) -> None:
    token = _token(place)
    fields = {**FIELDS, "token": token, field: value}
    # The browser leaves out the path, which has the token.
    from_here = {"Referer": f"{ADDRESS}/"}
    shown = place.visitor().post("/first-run", fields, status=422, headers=from_here)
    assert words in shown.text
    # Another theme leads back to it.
    assert shown.field("back") == first_run_path(token)
    (wrong,) = [one for one in shown.all("input") if one.get("aria-invalid") == "true"]
    assert wrong["name"] == field
    assert wrong["aria-describedby"].split()[0] == f"{field}-error"
    assert PASSWORD not in shown.answer.text
    assert _people(place) == []
    assert organizations(place.engine)[0].name == "Acme"


def test_the_address_that_init_was_given_is_filled_in_and_keeps_its_role(place: Place) -> None:
    place.add("ann@acme.example", password=None)
    place.add("view@acme.example", "viewer", password=None)
    token = _token(place)
    shown = place.visitor().get(first_run_path(token))
    assert shown.field("email") == "ann@acme.example"
    viewer = {**FIELDS, "token": token, "email": "view@acme.example"}
    refused = place.visitor().post("/first-run", viewer, status=422)
    assert "use an admin's address" in refused.text
    place.visitor().post("/first-run", {**FIELDS, "token": token, "email": "ann@acme.example"})
    able = [one.email for one in _people(place) if one.has_password]
    assert able == ["ann@acme.example"]


def test_the_trail_names_who_did_it_and_holds_no_password(place: Place) -> None:
    fields = {**FIELDS, "token": _token(place)}
    place.visitor().post("/first-run", fields)
    trail = entries(place.engine)
    assert {one.what for one in trail if one.who == "dana@acme.example"} == {"added", "renamed"}
    assert PASSWORD not in str(trail)


def test_an_unchanged_page_is_not_sent_again(place: Place) -> None:
    place.add("dana@acme.example")
    visitor = place.visitor("dana@acme.example")
    page = visitor.get(f"/p/{place.project}/first-event")
    live = page.all("section", id="arrivals")[0]["data-hx-get"]
    visitor.get(f"{live}?since={page.field('since')}", 204)
    assert "Waiting for your first event" in visitor.get(f"{live}?since=other").text
