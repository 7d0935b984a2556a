"""From the form that adds a person to the person who is in, in two browsers.

Slow: a browser opens pages.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tailrace.accounts.people import NewPerson, add_person
from tests.browser.conftest import PASSWORD, PHONE, WIDE, Chromium, Served

pytestmark = pytest.mark.slow

KIM = "kim.of.a.rather.long.name@acme.example"


@pytest.mark.parametrize(
    ("kind", "scheme", "size"),
    [("light", "light", WIDE), ("dark", "dark", WIDE), ("phone", "light", PHONE)],
)
def test_an_admin_adds_a_person_who_chooses_a_password_and_is_in(
    browser: Chromium, served: Served, kind: str, scheme: str, size: tuple[int, int]
) -> None:
    served.add_admin()
    with browser.tab(served, scheme=scheme, size=size) as tab:
        tab.sign_in()
        tab.go("/settings/people")
        tab.page.get_by_role("textbox", name="E-mail address").fill(KIM)
        tab.page.get_by_role("button", name="Add", exact=True).click()
        link = tab.page.get_by_role("group", name="Sign-in link").inner_text()
        tab.picture(f"invited-{kind}")
        assert tab.overflow() == 0
        assert tab.problems == []
    assert link.startswith(f"{served.url}/join/")

    sent: list[Any] = []
    with browser.tab(served, scheme=scheme, size=size) as tab:
        tab.page.on("request", lambda request: sent.append(request.all_headers()))
        tab.go(link.removeprefix(served.url))
        tab.page.get_by_label("Password", exact=True).fill(PASSWORD)
        tab.page.get_by_label("The same password again").fill(PASSWORD)
        tab.page.get_by_role("button", name="Set it and sign in").click()
        tab.page.wait_for_url(re.compile(r"^(?!.*/join/)"))
        tab.page.get_by_text("Account of").locator("..").click()
        assert tab.page.get_by_text(KIM).first.is_visible()
        tab.go(link.removeprefix(served.url), 404)
        tab.picture(f"void-link-{kind}")
    token = link.rpartition("/")[2]
    assert len(sent) > 3
    assert not [one for one in sent if token in one.get("referer", "")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_that_shows_a_link_can_be_used_by_everybody(
    browser: Chromium, served: Served, scheme: str
) -> None:
    served.add_admin()
    add_person(
        served.site.engine,
        served.organization,
        NewPerson(KIM, "manager", "Kim Gale"),
        passwords=served.site.passwords,
        clock=served.site.clock,
    )
    with browser.tab(served, scheme=scheme, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go("/settings/people")
        tab.page.get_by_role("button", name=f"New sign-in link for {KIM}").click()
        tab.page.get_by_role("group", name="Sign-in link").wait_for()
        tab.picture(f"new-link-{scheme}")
        assert tab.violations() == []
