"""Sign-in, sign-out, and what ends a session."""

from __future__ import annotations

import pytest

from tailrace.accounts.people import change_role, remove_person, set_password
from tailrace.accounts.sessions import IDLE_MICROS, LIFETIME_MICROS, SESSIONS_MAX
from tailrace.clock import MICROS
from tailrace.settings import Settings
from tailrace.state.database import reading
from tailrace.state.tables import session
from tailrace.web.attempts import ALLOWED, ALLOWED_PER_CLIENT, REFILL_MICROS
from tests.web.conftest import ADDRESS, PASSWORD, Place, Visitor

EMAIL = "dana@acme.example"
INSIDE = "/settings/organization"


@pytest.fixture
def dana(place: Place) -> Visitor:
    place.add(EMAIL)
    place.add("other@acme.example")
    return place.visitor(EMAIL)


def test_who_is_not_signed_in_is_asked_to_and_then_gets_what_they_wanted(place: Place) -> None:
    place.add(EMAIL)
    visitor = place.visitor()
    asked = visitor.get(f"{INSIDE}?a=b%20c", 303)
    form = visitor.get(asked.location)
    fields = {"email": EMAIL, "password": PASSWORD, "next": form.field("next")}
    done = visitor.post("/signin", fields, token=form.field("form_token"))
    assert done.location == f"{INSIDE}?a=b%20c"
    assert EMAIL in visitor.get(INSIDE).text


@pytest.mark.parametrize(
    "target", ["//evil.example", "///evil.example", "https://evil.example/", "/\\evil", "evil"]
)
def test_signing_in_leads_to_no_other_site(place: Place, target: str) -> None:
    place.add(EMAIL)
    fields = {"email": EMAIL, "password": PASSWORD, "next": target}
    assert place.visitor().post("/signin", fields).location == "/"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(place: Place) -> None:
    place.add(EMAIL)
    done = place.visitor().post("/signin", {"email": EMAIL, "password": PASSWORD})
    cookie = done.answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie


def test_behind_tls_the_cookie_is_never_sent_in_the_clear(place: Place) -> None:
    place.add(EMAIL)
    visitor = place.visitor(address="https://tailrace.example")
    cookie = visitor.post("/signin", {"email": EMAIL, "password": PASSWORD}).answer.headers[
        "set-cookie"
    ]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie


def test_only_a_hash_of_the_token_is_kept(place: Place, dana: Visitor) -> None:
    token = dana.client.cookies["tailrace_session"]
    with reading(place.engine) as connection:
        rows = connection.execute(session.select()).all()
    assert len(rows) == 1
    assert token not in str(rows)
    assert len(token) == 64


def test_no_answer_tells_an_account_from_none(place: Place) -> None:
    place.add(EMAIL)
    place.add("silent@acme.example", password=None)
    said = set()
    for email in (EMAIL, "silent@acme.example", "nobody@acme.example"):
        answer = place.visitor().post("/signin", {"email": email, "password": "wrong"}, status=422)
        said.add(answer.text.replace(email, "ADDRESS"))
        assert answer.field("email") == email
    assert len(said) == 1


def test_too_many_attempts_at_an_account_must_wait_even_with_the_right_password(
    place: Place,
) -> None:
    place.add(EMAIL)
    for _ in range(ALLOWED):
        place.visitor().post("/signin", {"email": EMAIL.upper(), "password": "no"}, status=422)
    right = {"email": EMAIL, "password": PASSWORD}
    refused = place.visitor().post("/signin", right, status=429)
    assert "Wait 1 minute," in refused.text
    assert refused.answer.headers["retry-after"] == "60"
    place.machine_clock.advance(REFILL_MICROS)
    place.visitor().post("/signin", right)
    # The right password gives the whole allowance again.
    for _ in range(ALLOWED):
        place.visitor().post("/signin", {"email": EMAIL, "password": "no"}, status=422)


def test_attempts_at_many_accounts_from_one_address_are_limited(place: Place) -> None:
    for number in range(ALLOWED_PER_CLIENT):
        fields = {"email": f"person{number}@acme.example", "password": "no"}
        place.visitor().post("/signin", fields, status=422)
    fields = {"email": "another@acme.example", "password": "no"}
    place.visitor().post("/signin", fields, status=429)


def test_signing_out_ends_this_session_alone_and_everywhere_ends_all(
    place: Place, dana: Visitor
) -> None:
    second, third = place.visitor(EMAIL), place.visitor(EMAIL)
    token = dana.client.cookies["tailrace_session"]
    dana.post("/signout")
    dana.client.cookies.set("tailrace_session", token)
    dana.get(INSIDE, 303)
    second.get(INSIDE)
    second.post("/signout", {"everywhere": "yes"})
    third.get(INSIDE, 303)


def test_a_session_ends_when_it_is_not_used_and_in_any_case_at_last(
    place: Place, dana: Visitor
) -> None:
    clock = place.machine_clock
    for _ in range(LIFETIME_MICROS // (IDLE_MICROS - MICROS)):
        clock.advance(IDLE_MICROS - MICROS)
        dana.get(INSIDE)
    clock.advance(IDLE_MICROS - MICROS)
    dana.get(INSIDE, 303)
    unused = place.visitor(EMAIL)
    clock.advance(IDLE_MICROS)
    unused.get(INSIDE, 303)


def test_another_role_holds_at_the_next_request(place: Place, dana: Visitor) -> None:
    dana.post(INSIDE, {"name": "Acme One"})
    change_role(place.engine, place.organization, EMAIL, "viewer", clock=place.site.clock)
    refused = dana.post(INSIDE, {"name": "Acme Two"}, status=403)
    assert "The role viewer may not manage organization: that is for admins." in refused.text
    assert "Acme One" in dana.get(INSIDE).text


def test_who_is_removed_is_signed_out_at_once(place: Place, dana: Visitor) -> None:
    remove_person(place.engine, place.organization, EMAIL, clock=place.site.clock)
    dana.get(INSIDE, 303)
    with reading(place.engine) as connection:
        assert connection.execute(session.select()).all() == []


def test_another_password_ends_every_session(place: Place, dana: Visitor) -> None:
    place.machine_clock.advance(1)
    set_password(
        place.engine,
        EMAIL,
        "another long password",
        passwords=place.site.passwords,
        clock=place.site.clock,
    )
    dana.get(INSIDE, 303)


def test_sessions_of_a_person_are_limited_to_the_last_used(place: Place, dana: Visitor) -> None:
    for _ in range(SESSIONS_MAX):
        place.machine_clock.advance(MICROS)
        newest = place.visitor(EMAIL)
    newest.get(INSIDE)
    dana.get(INSIDE, 303)
    with reading(place.engine) as connection:
        assert len(connection.execute(session.select()).all()) == SESSIONS_MAX


def test_a_form_of_another_site_or_another_visit_changes_nothing(
    place: Place, dana: Visitor
) -> None:
    fields, token = {"name": "Stolen"}, dana.token()
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        data = {"form_token": token, **fields}
        answer = dana.client.post(INSIDE, data=data, headers=headers, follow_redirects=False)
        assert answer.status_code == 403, headers
    for wrong in ("", "00", "zz", token[:-1] + ("0" if token[-1] != "0" else "1"), "0" * 64):
        dana.post(INSIDE, fields, token=wrong, status=403)
    dana.post(INSIDE, fields, token=place.visitor("other@acme.example").token(), status=403)
    assert "Stolen" not in dana.get(INSIDE).text
    dana.post(INSIDE, {"name": "Mine"}, token=token)


def test_without_the_browsers_word_the_origin_decides(place: Place, dana: Visitor) -> None:
    data = {"form_token": dana.token(), "name": "Mine"}
    for origin, status in ((ADDRESS, 303), ("null", 403), ("http://127.0.0.1:9", 403)):
        answer = dana.client.post(
            INSIDE, data=data, headers={"Origin": origin}, follow_redirects=False
        )
        assert answer.status_code == status, origin


def test_a_form_that_is_too_large_or_no_form_is_refused(dana: Visitor) -> None:
    assert "has more than 65536 bytes" in dana.post(INSIDE, {"name": "x" * 70_000}, status=400).text
    answer = dana.client.post(INSIDE, json={"name": "x"})
    assert answer.status_code == 400
    many = {f"field{number}": "x" for number in range(600)}
    assert "more than 500 fields" in dana.post(INSIDE, many, status=400).text


def test_a_member_of_two_organizations_sees_one_at_a_time(place: Place, dana: Visitor) -> None:
    other = place.add_organization("Globex")
    place.add_project(other, "Reactor")
    place.add(EMAIL, "admin", other, password=None)
    assert "Acme" in dana.get(INSIDE).text
    dana.post("/organization", {"organization": str(other)})
    assert f"Number {other}" in dana.get(INSIDE).text
    dana.post("/organization", {"organization": "999"}, status=400)
    dana.post("/organization", {"organization": "x"}, status=400)


@pytest.mark.parametrize("settings", [Settings(trusted_proxies=("10.0.0.0/8",))])
def test_only_a_trusted_proxy_is_believed_that_there_is_tls(place: Place) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
    for peer, secure in (("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("192.0.2.9", False)):
        visitor = place.visitor(peer=peer)
        cookie = visitor.client.get("/signin", headers=headers).headers["set-cookie"]
        assert ("Secure" in cookie) == secure, peer
    plain = place.visitor(peer="10.1.2.3").get("/signin").answer.headers["set-cookie"]
    assert "Secure" not in plain


@pytest.mark.parametrize("settings", [Settings(trusted_proxies=("10.0.0.0/8",))])
def test_attempts_behind_a_proxy_are_counted_by_client(place: Place) -> None:
    def attempt(client: str, number: int) -> int:
        visitor = place.visitor(peer="10.1.2.3")
        answer = visitor.client.post(
            "/signin",
            data={"form_token": visitor.token(), "email": f"p{number}@acme.example"},
            headers={"X-Forwarded-For": client},
        )
        return answer.status_code

    for number in range(ALLOWED_PER_CLIENT):
        assert attempt("198.51.100.7", number) == 422
    assert attempt("198.51.100.7", 999) == 429
    assert attempt("198.51.100.8", 999) == 422


@pytest.mark.parametrize("settings", [Settings(public_url="https://pages.example")])
def test_the_public_address_says_that_there_is_tls(place: Place) -> None:
    visitor = place.visitor(address="http://pages.example")
    assert "Secure" in visitor.get("/signin").answer.headers["set-cookie"]
    beside = place.visitor().get("/signin")
    assert "Secure" not in beside.answer.headers["set-cookie"]
