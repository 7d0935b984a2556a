"""Who gets into which page: every route, in every role, from this organization and from another."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from tailrace.accounts.roles import ACTIONS, ROLES, allowed
from tailrace.clock import MICROS
from tailrace.state.database import reading
from tailrace.state.draft_tables import draft
from tailrace.state.tables import audit, destination, manual_export
from tailrace.web.application import pages
from tailrace.web.page import Needs, Page
from tests.web.conftest import Place, Visitor
from tests.web.exporting import Exporting

# What stands for each name in an address; `p` is the project.
NAMES = {
    "d": "1",
    "draft": "1",
    "hour": "2026-11-20T14",
    "n": "1",
    "data_type": "events",
    "action": "pause",
    "key": "1",
    "person": "1",
    "token": "0" * 64,
}

# These need nobody to be signed in, and for each there is a reason.
OPEN = {
    ("GET", "/signin"),
    ("POST", "/signin"),
    ("POST", "/theme"),
    # A token from the terminal is asked for.
    ("GET", "/first-run"),
    ("POST", "/first-run"),
    # A token of a link that an admin or the operator handed over is asked for.
    ("GET", "/join/{token}"),
    ("POST", "/join/{token}"),
    # There only where the settings say so.
    ("GET", "/dev/parts"),
}


def _address(page: Page, project: int) -> str:
    path = page.path.replace("{p:int}", str(project))
    for name, value in NAMES.items():
        path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:int}}", value)
    assert "{" not in path, f"name what stands for it in {path}"
    return path


def _answer(visitor: Visitor, page: Page, project: int) -> int:
    path = _address(page, project)
    if page.method == "GET":
        answer = visitor.client.get(path, follow_redirects=False)
    else:
        answer = visitor.client.post(
            path, data={"form_token": visitor.token()}, follow_redirects=False
        )
    return answer.status_code


@pytest.fixture
def everybody(place: Place) -> dict[str, Visitor]:
    """One visitor in each role, and an admin of another organization."""
    place.add("first@acme.example")
    visitors = {}
    for role in ROLES:
        place.add(f"{role}@acme.example", role)
        visitors[role] = place.visitor(f"{role}@acme.example")
    other = place.add_organization("Globex")
    place.add_project(other, "Reactor")
    place.add("admin@globex.example", "admin", other)
    return visitors | {"other": place.visitor("admin@globex.example"), "nobody": place.visitor()}


def test_every_page_lets_in_exactly_whom_it_is_for(
    place: Place, everybody: dict[str, Visitor]
) -> None:
    # Forms last: one of them ends all sessions but its own.
    for page in sorted(pages(place.site), key=lambda one: one.method):
        shown = f"{page.method} {page.path}"
        if page.needs == "anybody":
            assert (page.method, page.path) in OPEN, f"{shown} is open to anybody"
            continue
        # So many sign in here that nobody could do it at once.
        place.machine_clock.advance(15 * 60 * MICROS)
        # Who signs out or changes what is theirs does it as somebody else the next time.
        for role in ROLES:
            email = f"{role}@acme.example"
            visitor = place.visitor(email) if page.method == "POST" else everybody[role]
            status = _answer(visitor, page, place.project)
            assert status < 500, f"{shown} as {role}: {status}"
            may = page.needs == "signed in" or allowed(role, page.needs)
            assert (status not in (401, 403)) == may, f"{shown} as {role}: {status}"
        if "{p" in page.path:
            status = _answer(everybody["other"], page, place.project)
            assert status == 404, f"{shown} from another organization: {status}"
        nobody = place.visitor()
        expected = 303 if page.method == "GET" else 401
        assert _answer(nobody, page, place.project) == expected, f"{shown} signed out"


def test_a_page_of_a_project_names_it_as_the_guard_reads_it(place: Place) -> None:
    for page in pages(place.site):
        if page.path.startswith("/p/"):
            assert page.path.startswith("/p/{p:int}/"), page.path


def test_what_a_page_needs_is_an_action_or_a_word_of_the_guard(place: Place) -> None:
    known = {*ACTIONS, "anybody", "signed in"}
    assert {page.needs for page in pages(place.site)} <= known
    assert {word for kind in get_args(Needs) for word in get_args(kind)} == known


def test_no_project_is_told_from_one_of_another_organization(
    place: Place, everybody: dict[str, Visitor]
) -> None:
    theirs = everybody["other"].get(f"/p/{place.project}/first-event", 404)
    none = everybody["other"].get("/p/399999/first-event", 404)
    assert theirs.text.replace(str(place.project), "399999") == none.text


def test_a_destination_of_others_is_not_there_and_stays_as_it_is(
    place: Place, everybody: dict[str, Visitor]
) -> None:
    other = place.add_organization("Initech")
    theirs = place.add_project(other, "Printer").project_id
    beside = place.add_project(place.organization, "Blog").project_id
    strange = [
        Exporting(place.site, other, theirs).add_unreachable("theirs"),
        Exporting(place.site, place.organization, beside).add_unreachable("beside"),
    ]
    before = _rows(place)
    asked = [page for page in pages(place.site) if "{d:int}" in page.path]
    assert len(asked) > 20
    for page in asked:
        for one in strange:
            own = msgspec.structs.replace(page, path=page.path.replace("{d:int}", str(one.id)))
            status = _answer(everybody["admin"], own, place.project)
            assert status == 404, f"{page.method} {page.path} of {one.bucket}: {status}"
    assert _rows(place) == before


def _rows(place: Place) -> list[list[tuple[object, ...]]]:
    with reading(place.engine) as connection:
        tables = (destination, manual_export, audit, draft)
        return [[tuple(row) for row in connection.execute(one.select())] for one in tables]


@pytest.mark.parametrize("digits", [16, 30, 5000])
def test_a_number_that_there_can_not_be_is_an_address_that_there_is_not(
    place: Place, everybody: dict[str, Visitor], digits: int
) -> None:
    number = "9" * digits
    for page in pages(place.site):
        for name in ("p", "d", "n", "draft"):
            if f"{{{name}:int}}" in page.path:
                path = page.path.replace(f"{{{name}:int}}", number)
                odd = msgspec.structs.replace(page, path=path)
                assert _answer(everybody["admin"], odd, place.project) == 404, path[:60]
    signed_out = place.visitor().client.get(f"/p/{number}/events", follow_redirects=False)
    assert signed_out.status_code == 404
    assert "content-security-policy" in signed_out.headers


@pytest.mark.parametrize("digits", [16, 30, 5000])
def test_a_number_that_there_can_not_be_is_told_in_words_by_forms_and_lists(
    place: Place, everybody: dict[str, Visitor], digits: int
) -> None:
    number, admin = "9" * digits, everybody["admin"]
    assert (
        "no organization" in admin.post("/organization", {"organization": number}, status=400).text
    )
    assert "Choose a project" in admin.post("/settings/keys", {"project": number}, status=422).text
    Exporting(place.site, place.organization, place.project).add()
    for one in ("activity", "automatic-exports"):
        admin.get(f"/p/{place.project}/destinations/1/{one}?skip={number}")


def test_a_part_of_a_page_is_no_page_to_sign_in(place: Place) -> None:
    for page in pages(place.site):
        if page.method == "GET" and page.needs != "anybody":
            client = place.visitor().client
            address = _address(page, place.project)
            answer = client.get(address, headers={"HX-Request": "true"}, follow_redirects=False)
            assert (answer.status_code, answer.content) == (401, b""), address


def test_get_changes_nothing_so_it_is_never_a_form(place: Place) -> None:
    pairs = [(page.method, page.path) for page in pages(place.site)]
    assert len(pairs) == len(set(pairs))
