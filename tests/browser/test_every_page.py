"""Every page in Chromium: nobody kept out by it, nothing wider than a phone, a clean console.

Slow: a browser opens each page three times, and axe-core reads it twice.
"""

from __future__ import annotations

import pytest

from tailrace.accounts.first_run import first_run_path, new_token
from tailrace.accounts.sign_in_links import make_operators_link
from tailrace.web.application import pages
from tests.browser.conftest import EMAIL, PHONE, WIDE, Chromium, Served, Tab

pytestmark = pytest.mark.slow

# What 400 % of a usual screen is (WCAG 1.4.10).
NARROW = 320

# Each page that is opened by its address, and the name of its pictures.
SIGNED_IN = {
    "/p/{p:int}/first-event": "first-event",
    "/p/{p:int}/destinations": "destinations",
    "/settings/organization": "settings-organization",
    "/settings/projects": "settings-projects",
    "/settings/people": "settings-people",
    "/settings/keys": "settings-keys",
    "/settings/mail": "settings-mail",
    "/settings/about": "settings-about",
    "/p/{p:int}/catalog/destinations": "catalog",
    "/p/{p:int}/catalog/sources": "sources",
    "/p/{p:int}/events": "events",
    "/p/{p:int}/catalog/amazon-s3/new": "choose-data",
}
SIGNED_OUT = {
    "/join/{token}": "join",
    "/signin": "signin",
    "/dev/parts": "parts",
    "/nowhere": "not-found",
}
STATUS = {"/nowhere": 404}
# Not opened alone: what leads elsewhere, is put into a page, or has a test of its own.
OTHERS = {"/", "/first-run", "/settings/mail/{n:int}"} | {
    f"/p/{{p:int}}/{path}"
    for path in (
        "first-event/live",
        "catalog/sources/live",
        "events/live",
        "setup/{draft:int}/data",
        "setup/{draft:int}/policy",
        "setup/{draft:int}/verify",
        "destinations/{d:int}",
        "destinations/{d:int}/live",
        "destinations/{d:int}/hours/{hour}",
        "destinations/{d:int}/hours/{hour}/files/{data_type}/{n:int}",
        "destinations/{d:int}/hours/{hour}/files/{data_type}/{n:int}/download",
        "destinations/{d:int}/automatic-exports",
        "destinations/{d:int}/automatic-exports/live",
        "destinations/{d:int}/activity",
        "destinations/{d:int}/activity.csv",
        "destinations/{d:int}/configuration",
        "destinations/{d:int}/edit",
        "destinations/{d:int}/export",
        "destinations/{d:int}/manage",
        "destinations/{d:int}/manual-exports",
        "destinations/{d:int}/manual-exports/live",
        "destinations/{d:int}/failures",
        "destinations/{d:int}/failures/{n}",
        "destinations/{d:int}/failures/{n}/live",
    )
}


def _path(served: Served, path: str) -> str:
    """Return an address of a page; a link that holds where it needs a token."""
    path = path.replace("{p:int}", str(served.project))
    if "{token}" not in path:
        return path
    site = served.site
    made = make_operators_link(
        site.engine, EMAIL, ids=site.ids, clock=site.clock, machine=site.machine_clock
    )
    return path.replace("{token}", made.token)


def _look(tab: Tab, name: str, *, phone: bool) -> None:
    tab.picture(name)
    assert tab.page.locator("h1").count() == 1, name
    assert tab.overflow() == 0, f"{name} is {tab.overflow()} px too wide"
    assert tab.problems == [], name
    if phone:
        tab.page.set_viewport_size({"width": NARROW, "height": 700})
        assert tab.overflow() == 0, f"{name} is too wide at {NARROW} px"


def _read(tab: Tab, name: str) -> None:
    assert tab.violations() == [], name


def test_all_that_keeps_somebody_out_is_found(browser: Chromium, served: Served) -> None:
    with browser.tab(served, bypass_policy=True) as tab:
        tab.go("/signin")
        tab.page.evaluate("document.querySelector('main').append(new Image(), new Image())")
        assert [one.partition(":")[0] for one in tab.violations()] == ["image-alt"] * 2


def test_no_page_is_left_out(served: Served) -> None:
    shown = {page.path for page in pages(served.site) if page.method == "GET"}
    assert shown == {*SIGNED_IN, *SIGNED_OUT, *OTHERS} - {"/nowhere"}


@pytest.mark.parametrize(
    ("kind", "scheme", "size"),
    [("light", "light", WIDE), ("dark", "dark", WIDE), ("phone", "light", PHONE)],
)
def test_every_page_looks_as_it_should(
    browser: Chromium, served: Served, kind: str, scheme: str, size: tuple[int, int]
) -> None:
    token = new_token(served.site.engine, ids=served.site.ids, clock=served.site.clock)
    assert token is not None
    with browser.tab(served, scheme=scheme, size=size) as tab:
        tab.go(first_run_path(token))
        _look(tab, f"first-run-{kind}", phone=kind == "phone")
    served.add_admin()
    for signed_in, places in ((False, SIGNED_OUT), (True, SIGNED_IN)):
        with browser.tab(served, scheme=scheme, size=size) as tab:
            if signed_in:
                tab.sign_in()
            for path, name in places.items():
                tab.page.set_viewport_size({"width": size[0], "height": size[1]})
                tab.go(_path(served, path), STATUS.get(path, 200))
                _look(tab, f"{name}-{kind}", phone=kind == "phone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(
    browser: Chromium, served: Served, scheme: str
) -> None:
    token = new_token(served.site.engine, ids=served.site.ids, clock=served.site.clock)
    assert token is not None
    with browser.tab(served, scheme=scheme, bypass_policy=True) as tab:
        tab.go(first_run_path(token))
        _read(tab, "first run")
        tab.page.get_by_label("Password", exact=True).fill("short")
        tab.page.get_by_label("The same password again").fill("short")
        tab.page.get_by_label("Your e-mail address").fill("dana@acme.example")
        tab.page.get_by_role("button", name="Go on").click()
        tab.page.get_by_role("alert").first.wait_for()
        tab.picture(f"first-run-wrong-{scheme}")
        _read(tab, "first run with a wrong field")
        assert tab.page.evaluate("document.activeElement.name") == "password"
        served.add_admin()
        for path in SIGNED_OUT:
            tab.go(_path(served, path), STATUS.get(path, 200))
            _read(tab, path)
        tab.sign_in()
        for path in SIGNED_IN:
            tab.go(_path(served, path))
            _read(tab, path)
        tab.page.get_by_text("Account of").locator("..").click()
        tab.picture(f"menu-{scheme}")
        _read(tab, "the account's menu")
