"""Settings of projects, people, keys and mail, as a person reads and uses them."""

from __future__ import annotations

import re

import pytest

from tailrace.accounts.options import ProjectOptions, options_of
from tailrace.accounts.people import people, set_password
from tailrace.accounts.portfolios import portfolios
from tailrace.accounts.project_keys import api_keys, secret_key_is
from tailrace.accounts.projects import find_project, projects
from tailrace.state.database import writing
from tailrace.state.mails import NewMail, keep_mail
from tests.web.conftest import PASSWORD, Place, Visitor


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add("dana@acme.example")
    return place.visitor("dana@acme.example")


def test_a_project_is_added_renamed_and_told_what_its_lines_are_to_be(
    place: Place, dana: Visitor
) -> None:
    dana.post("/settings/projects", {"name": "Warehouse"})
    added = projects(place.engine, organization_id=place.organization)[-1]
    assert (added.name, len(added.api_keys)) == ("Warehouse", 1)
    answer = dana.client.post(
        f"/settings/projects/{added.id}",
        data={
            "form_token": dana.token(),
            "name": "Depot",
            "options": ["drop_ip", "extended_columns"],
        },
        follow_redirects=False,
    )
    assert answer.status_code == 303
    assert find_project(place.engine, added.id).name == "Depot"
    assert options_of(place.engine, added.id) == ProjectOptions(
        schema_number=None, drop_ip=True, extended_columns=True
    )
    shown = dana.get("/settings/projects")
    ticked = [one["id"] for one in shown.all("input", name="options") if "checked" in one]
    assert f"drop_ip-{added.id}" in ticked
    assert f"schema_number-{added.id}" not in ticked
    assert f"schema_number-{place.project}" in ticked


def test_saving_a_project_as_it_is_changes_nothing(place: Place, dana: Visitor) -> None:
    dana.post(f"/settings/projects/{place.project}", {"name": "Shop", "options": "schema_number"})
    assert options_of(place.engine, place.project) == ProjectOptions()


def test_names_that_are_none_are_said_beside_their_fields(place: Place, dana: Visitor) -> None:
    for path, fields in (
        ("/settings/projects", {"name": " "}),
        (f"/settings/projects/{place.project}", {"name": "x" * 500}),
        ("/settings/projects/portfolio", {"portfolio_name": "All"}),
    ):
        shown = dana.post(path, fields, status=422)
        assert len(shown.all("p", class_="error")) == 1, path


def test_a_portfolio_project_shows_others_and_says_what_it_can_not(
    place: Place, dana: Visitor
) -> None:
    fields = {"portfolio_name": "All shops", "shows": str(place.project)}
    dana.post("/settings/projects/portfolio", fields)
    (made,) = portfolios(place.engine, organization_id=place.organization)
    assert made.projects == (place.project,)
    shown = dana.get("/settings/projects")
    assert "They receive no events and can't be exported." in shown.text


def test_nothing_of_another_organization_is_reached(place: Place, dana: Visitor) -> None:
    rival = place.add_organization("Globex")
    theirs = place.add_project(rival, "Reactor")
    dana.post(f"/settings/projects/{theirs.project_id}", {"name": "Mine"}, status=404)
    shown = dana.post("/settings/keys/revoke", {"key": theirs.api_key}, status=400)
    assert "there is no such key" in shown.text
    dana.post("/settings/keys/secret", {"project": str(theirs.project_id)}, status=400)
    fields = {"project": str(theirs.project_id), "name": "x"}
    dana.post("/settings/keys", fields, status=422)
    assert find_project(place.engine, theirs.project_id).name == "Reactor"
    assert [one.revoked_micros for one in api_keys(place.engine, theirs.project_id)] == [None]
    assert secret_key_is(place.engine, theirs.project_id, theirs.secret_key)
    assert "Reactor" not in dana.get("/settings/keys").text


def test_keys_are_added_named_and_revoked(place: Place, dana: Visitor) -> None:
    dana.post("/settings/keys", {"project": str(place.project), "name": "Web shop"})
    added = next(one for one in api_keys(place.engine, place.project) if one.name == "Web shop")
    shown = dana.get("/settings/keys")
    assert added.key in shown.text
    assert "Web shop" in shown.text
    dana.post("/settings/keys/revoke", {"key": added.key})
    assert "revoked" in dana.get("/settings/keys").text
    again = dana.post("/settings/keys/revoke", {"key": added.key}, status=400)
    assert "revoked before" in again.text


def test_a_secret_key_is_shown_once(place: Place, dana: Visitor) -> None:
    shown = dana.post("/settings/keys/secret", {"project": str(place.project)}, status=200)
    (secret,) = re.findall(r"Secret key Copy secret key ([0-9a-f]{32})", shown.text)
    assert secret_key_is(place.engine, place.project, secret)
    assert not secret_key_is(place.engine, place.project, place.made.secret_key)
    assert secret not in dana.get("/settings/keys").text


def test_people_are_added_and_given_other_roles_and_removed(place: Place, dana: Visitor) -> None:
    fields = {"email": "kim@acme.example", "name": "Kim", "role": "viewer"}
    dana.post("/settings/people", fields, status=200)
    dana.post("/settings/people/role", {"email": "kim@acme.example", "role": "manager"})
    found = {one.email: one.role for one in people(place.engine, place.organization)}
    assert found["kim@acme.example"] == "manager"
    dana.post("/settings/people/remove", {"email": "kim@acme.example"})
    assert "kim@acme.example" not in dana.get("/settings/people").text


@pytest.mark.parametrize(
    ("email", "said"), [("nobody", "e-mail"), ("dana@acme.example", "has a person of this address")]
)
def test_who_can_not_be_added_is_said(dana: Visitor, email: str, said: str) -> None:
    shown = dana.post("/settings/people", {"email": email, "role": "viewer"}, status=422)
    assert said in shown.text
    assert shown.all("input", id="email")[0]["value"] == email


def test_the_only_admin_stays_admin(place: Place, dana: Visitor) -> None:
    for path, fields in (("role", {"role": "viewer"}), ("remove", {})):
        dana.post(f"/settings/people/{path}", {"email": "dana@acme.example", **fields}, status=400)
    assert [one.role for one in people(place.engine, place.organization)] == ["admin"]


def test_one_changes_ones_own_password_and_is_signed_out_everywhere(
    place: Place, dana: Visitor
) -> None:
    elsewhere = place.visitor("dana@acme.example")
    new = "another long password"
    place.machine_clock.advance(1_000_000)
    fields = {"current": PASSWORD, "new": new, "again": new}
    assert dana.post("/settings/people/password", fields).location == "/signin"
    assert elsewhere.get("/settings/people", 303).location.startswith("/signin")
    place.visitor().sign_in("dana@acme.example", new)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"current": "wrong", "new": "a long password", "again": "a long password"}, "present"),
        ({"current": PASSWORD, "new": "a long password", "again": "other"}, "differ"),
        ({"current": PASSWORD, "new": "short", "again": "short"}, "12 to 1024 characters"),
    ],
)
def test_a_password_that_can_not_be_taken_is_said(
    place: Place, dana: Visitor, fields: dict[str, str], said: str
) -> None:
    assert said in dana.post("/settings/people/password", fields, status=422).text
    place.visitor().sign_in("dana@acme.example")


def test_a_password_that_the_operator_sets_meanwhile_is_not_overwritten(
    place: Place, dana: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords, new, operators = place.site.passwords, "another long password", "the operator's one"
    hashed = passwords.hash

    with monkeypatch.context() as patched:

        def hash_slowly(password: str) -> str:
            patched.undo()
            place.machine_clock.advance(1)
            set_password(
                place.engine,
                "dana@acme.example",
                operators,
                passwords=passwords,
                clock=place.site.clock,
            )
            return hashed(password)

        patched.setattr(passwords, "hash", hash_slowly)
        fields = {"current": PASSWORD, "new": new, "again": new}
        shown = dana.post("/settings/people/password", fields, status=422)
    assert "Your password was changed meanwhile; sign in again." in shown.text
    place.visitor().sign_in("dana@acme.example", operators)


def test_guessing_a_password_here_is_limited_as_at_the_sign_in(dana: Visitor) -> None:
    fields = {"current": "wrong", "new": "a long password", "again": "a long password"}
    said = ""
    for _ in range(20):
        said = dana.post("/settings/people/password", fields, status=422).text
        if "tried too often" in said:
            break
    assert "tried too often" in said


def test_mails_are_listed_and_read_as_text(place: Place, dana: Visitor) -> None:
    assert "No mail yet" in dana.get("/settings/mail").text
    new = NewMail(
        kind="outage",
        subject="Access to acme is refused",
        text="Add <b>s3:PutObject</b>.",
        html="<script>alert(1)</script>",
        recipients=("dana@acme.example",),
        organization=place.organization,
    )
    theirs = NewMail(kind="disk", subject="The disk", text="", html="", recipients=("o@x.example",))
    with writing(place.engine) as connection:
        number = keep_mail(connection, new, made_micros=1, message_id="<one>")
        other = keep_mail(connection, theirs, made_micros=1, message_id="<two>")
    listed = dana.get("/settings/mail")
    assert "Access to acme is refused" in listed.text
    assert "The disk" not in listed.text
    assert "Mails are kept here and not sent" in listed.text
    shown = dana.get(f"/settings/mail/{number}")
    assert "Add <b>s3:PutObject</b>." in shown.text
    assert "alert(1)" not in shown.text
    dana.get(f"/settings/mail/{other}", 404)


def test_trying_the_mail_server_says_what_is_missing(dana: Visitor) -> None:
    shown = dana.post("/settings/mail", status=422)
    assert "There is no mail server to try: set smtp.host" in shown.text
