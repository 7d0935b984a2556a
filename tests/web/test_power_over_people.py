"""What admins may do to accounts: to those of their own organization alone, and to no other."""

from __future__ import annotations

import pytest

from tailrace.state.audit import entries
from tailrace.state.database import reading
from tailrace.state.tables import person, session, sign_in_link
from tests.web.conftest import PASSWORD, Place, Visitor
from tests.web.joining import DANA, KIM, PEOPLE, invite, join, path_in

RITA = "rita@rival.example"


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add(DANA)
    return place.visitor(DANA)


@pytest.fixture
def strange(place: Place) -> Visitor:
    """An admin of another organization."""
    place.add(RITA, "admin", place.add_organization("Rival"))
    return place.visitor(RITA)


def kept(place: Place) -> list[list[tuple[object, ...]]]:
    with reading(place.engine) as connection:
        rows = [
            [tuple(row) for row in connection.execute(one.select())]
            for one in (person, session, sign_in_link)
        ]
    return [*rows, [(one,) for one in entries(place.engine)]]


def test_who_forgot_the_password_gets_a_new_link_and_the_old_one_holds_until_then(
    place: Place, dana: Visitor
) -> None:
    place.add(KIM, "member")
    kim = place.visitor(KIM)
    first = path_in(dana.post(f"{PEOPLE}/link", {"email": KIM}, status=200))
    second = path_in(dana.post(f"{PEOPLE}/link", {"email": KIM}, status=200))
    place.visitor().get(first, 404)
    kim.get(PEOPLE)
    place.visitor(KIM)
    join(place.visitor(), second)
    kim.get(PEOPLE, 303)
    place.visitor().post("/signin", {"email": KIM, "password": PASSWORD}, status=422)


def test_an_admin_ends_the_sessions_of_a_person(place: Place, dana: Visitor) -> None:
    place.add(KIM, "member")
    kim, elsewhere = place.visitor(KIM), place.visitor(KIM)
    dana.post(f"{PEOPLE}/sessions", {"email": KIM})
    kim.get(PEOPLE, 303)
    elsewhere.get(PEOPLE, 303)
    dana.get(PEOPLE)
    place.visitor(KIM)
    newest = entries(place.engine)[0]
    assert (newest.who, newest.what, newest.detail["email"]) == (DANA, "sessions ended", KIM)


def test_anybody_ends_their_own_other_sessions(place: Place, dana: Visitor) -> None:
    place.add(KIM)
    kim, elsewhere = place.visitor(KIM), place.visitor(KIM)
    assert "You are signed in in 1 other browser." in kim.get(PEOPLE).text
    kim.post(f"{PEOPLE}/elsewhere")
    elsewhere.get(PEOPLE, 303)
    assert "You are signed in in this browser alone." in kim.get(PEOPLE).text
    dana.get(PEOPLE)
    newest = entries(place.engine)[0]
    assert (newest.who, newest.what, newest.detail) == (KIM, "sessions ended", {"email": KIM})


@pytest.mark.parametrize("what", ["link", "sessions"])
def test_an_admin_of_another_organization_has_no_power_over_a_person(
    place: Place, dana: Visitor, strange: Visitor, what: str
) -> None:
    place.add(KIM)
    place.visitor(KIM)
    before = kept(place)
    said = []
    for email in (KIM, "nobody@acme.example"):
        shown = strange.post(f"{PEOPLE}/{what}", {"email": email}, status=404)
        said.append(shown.text.replace(email, "N"))
    assert said[0] == said[1]
    assert kept(place) == before


@pytest.mark.parametrize("what", ["link", "sessions"])
def test_nor_over_one_who_is_in_both_organizations(
    place: Place, dana: Visitor, strange: Visitor, what: str
) -> None:
    place.add(KIM)
    place.visitor(KIM)
    added = strange.post(PEOPLE, {"email": KIM, "role": "viewer"}, status=200)
    assert "no sign-in link is made here" in added.text
    assert "/join/" not in added.answer.text
    before = kept(place)
    for admin in (dana, strange):
        shown = admin.post(f"{PEOPLE}/{what}", {"email": KIM}, status=422)
        assert "not this organization's alone" in shown.text
        assert shown.field("email") != "", "the list is still there"
    assert kept(place) == before


def test_adding_somebody_of_another_organization_does_not_tell_whether_they_have_a_password(
    place: Place, dana: Visitor, strange: Visitor
) -> None:
    place.add(KIM)
    place.add("silent@acme.example", password=None)
    said = {
        invite(strange, email).text.partition("People of this")[0].replace(email, "ADDRESS")
        for email in (KIM, "silent@acme.example")
    }
    assert len({text.partition("E-mail address Name")[0] for text in said}) == 1


def test_an_address_whose_password_one_may_know_gets_one_into_no_other_organization(
    place: Place, dana: Visitor, strange: Visitor
) -> None:
    victim = "vic@rival.example"
    join(place.visitor(), path_in(invite(dana, victim)))
    refused = strange.post(PEOPLE, {"email": victim, "role": "admin"}, status=422)
    assert "admins of another organization may know" in refused.text
    assert victim not in strange.get(PEOPLE).text


@pytest.mark.parametrize("what", ["link", "sessions"])
def test_nobody_does_it_to_themselves(place: Place, dana: Visitor, what: str) -> None:
    shown = dana.post(f"{PEOPLE}/{what}", {"email": DANA}, status=422)
    assert "with the present one" in shown.text
    dana.get(PEOPLE)


def test_only_admins_are_shown_who_has_a_link(place: Place, dana: Visitor) -> None:
    invite(dana)
    place.add("max@acme.example", "manager")
    listed = place.visitor("max@acme.example").get(PEOPLE)
    assert KIM in listed.text
    assert "sign-in link" not in listed.text
