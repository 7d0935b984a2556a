"""The overview of a destination in Chromium: seen, read, used by the keyboard, kept live.

Slow: a browser, an S3 server, and each page in both themes and on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.app.destinations import Access, NewBucket, add_amazon_s3
from tailrace.demo import seaweed
from tailrace.hours import Hour
from tests.browser.conftest import PHONE, WIDE, Chromium
from tests.browser.exporting import PREFIX, Look, Shop, open_shop
from tests.export.conftest import clean_environment as clean_environment

pytestmark = pytest.mark.slow

LOOKS = (
    Look("light", "light", WIDE),
    Look("dark", "dark", WIDE),
    Look("phone", "light", PHONE),
)


@pytest.fixture
def shop(tmp_path: Path, empty_database: bytes, server: seaweed.Seaweed) -> Iterator[Shop]:
    """A shop whose destination has two hours delivered, and one that is refused."""
    with open_shop(tmp_path, empty_database, server) as opened:
        opened.allow()
        add_destination(opened)
        for number in (2, 3):
            opened.seal_hour(_hour(opened, number))
        opened.deliver()
        yield opened


def add_destination(shop: Shop) -> None:
    """Add the shop's bucket as a destination, which its policy must let in."""
    new = NewBucket(
        project=shop.project,
        bucket=shop.bucket,
        region=seaweed.REGION,
        prefix=PREFIX,
        endpoint_url=shop.server.endpoint_url,
        access=Access(
            access_key_id=shop.server.exporter.access_key_id,
            secret_access_key=shop.server.exporter.secret_access_key,
        ),
    )
    site = shop.site
    assert add_amazon_s3(site.folder, shop.world.destinations, site.settings, new).passed


def _hour(shop: Shop, number: int) -> Hour:
    """Return an hour of the service's day."""
    return Hour.of_micros(shop.world.clock.now_micros()).day_start().plus(number)


def _path(shop: Shop) -> str:
    return f"/p/{shop.project}/destinations/{shop.destination.id}"


def _pages(shop: Shop) -> dict[str, str]:
    return {
        "overview": _path(shop),
        "list": f"/p/{shop.project}/destinations",
        "automatic": f"{_path(shop)}/automatic-exports",
        "runs": f"{_path(shop)}/automatic-exports?trigger=all",
        "activity": f"{_path(shop)}/activity",
        "configuration": f"{_path(shop)}/configuration",
        "edit": f"{_path(shop)}/edit",
        "manage": f"{_path(shop)}/manage",
        "hour": f"{_path(shop)}/hours/{_hour(shop, 3)}",
        "hour-retrying": f"{_path(shop)}/hours/{_hour(shop, 4)}",
    }


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_it_looks_as_it_should(browser: Chromium, shop: Shop, look: Look) -> None:
    shop.allow("s3:ListBucket", "s3:GetObject", "s3:AbortMultipartUpload", "s3:DeleteObject")
    shop.seal_hour(_hour(shop, 4))
    shop.deliver()
    with browser.tab(shop, scheme=look.scheme, size=look.size) as tab:
        tab.sign_in()
        for name, path in _pages(shop).items():
            tab.go(path)
            tab.picture(f"{name}-{look.name}")
            assert tab.page.locator("h1").count() == 1
            assert tab.overflow() == 0
            assert tab.problems == []
    with browser.tab(shop, scheme=look.scheme, size=look.size, bypass_policy=True) as tab:
        tab.sign_in()
        for path in _pages(shop).values():
            tab.go(path)
            assert tab.violations() == []


def test_it_follows_what_happens_and_keeps_the_cell_that_is_looked_at(
    browser: Chromium, shop: Shop
) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        page = tab.page
        cell = f"h{_hour(shop, 3)}"
        page.hover(f"[id='{cell}']")
        page.get_by_text("exported, 1 event, 1 file").wait_for()
        assert page.locator(f"[id='h{_hour(shop, 5)}']").get_attribute("class").count("collecting")
        shop.seal_hour(_hour(shop, 5))
        shop.deliver()
        tab.tick()
        page.wait_for_function(
            "id => document.getElementById(id).className.includes('exported')",
            arg=f"h{_hour(shop, 5)}",
        )
        assert tab.problems == []


def test_what_can_t_be_read_any_more_is_kept_and_told_to_be_old(
    browser: Chromium, shop: Shop
) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        page, before = tab.page, tab.page.locator(".tiles strong").all_inner_texts()
        colour = "getComputedStyle(document.querySelector('.tile.ok strong')).color"
        healthy = page.evaluate(colour)
        page.route("**/live*", lambda route: route.fulfill(status=503, body="<h1>Busy</h1>"))

        for _ in range(2):
            with page.expect_response("**/live*"):
                tab.tick()

        page.get_by_text(re.compile(r"^as of \d\d:\d\d:\d\d UTC$")).wait_for()
        page.get_by_text("Not updating since").wait_for()
        assert page.locator(".tiles strong").all_inner_texts() == before
        assert page.evaluate(colour) != healthy
        tab.picture("overview-behind")
        page.unroute("**/live*")
        tab.tick()
        page.get_by_text(re.compile("^as of ")).wait_for(state="hidden")
        assert page.evaluate(colour) == healthy


def test_the_grid_is_one_tab_stop_in_which_arrows_move(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        page = tab.page
        assert page.locator("[data-grid] a.hour[tabindex='0']").count() == 1
        page.locator(f"[id='h{_hour(shop, 3)}']").focus()
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("document.activeElement.id") == f"h{_hour(shop, 2)}"
        assert page.locator("[data-grid] a.hour[tabindex='0']").count() == 1
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="02:00 to 03:00 UTC").wait_for()


def test_it_tells_all_of_it_without_script(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop, script=False) as tab:
        tab.go("/signin")
        tab.page.get_by_label("E-mail address").fill("dana@acme.example")
        tab.page.get_by_label("Password", exact=True).fill("correct horse battery")
        tab.page.get_by_role("button", name="Sign in").click()
        tab.go(_path(shop))
        assert tab.page.locator("[data-grid] .hour").count() == 14 * 24
        assert tab.page.get_by_role("heading", name="Runs").is_visible()
