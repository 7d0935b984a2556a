"""A manual export in Chromium: planned, started, watched until it is done, seen in the grid.

Slow: a browser, an S3 server, and each page in both themes and on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.demo import seaweed
from tailrace.hours import Hour
from tests.browser.conftest import PHONE, WIDE, Chromium, Tab
from tests.browser.exporting import Look, Shop, open_shop
from tests.browser.test_overview import add_destination
from tests.export.conftest import clean_environment as clean_environment

pytestmark = pytest.mark.slow

LOOKS = (
    Look("light", "light", WIDE),
    Look("dark", "dark", WIDE),
    Look("phone", "light", PHONE),
)
DAY = Hour.parse("2026-11-20T00")


@pytest.fixture
def shop(tmp_path: Path, empty_database: bytes, server: seaweed.Seaweed) -> Iterator[Shop]:
    """A shop with two hours of a day before it had its destination."""
    with open_shop(tmp_path, empty_database, server) as opened:
        for number in (9, 10):
            opened.seal_hour(DAY.plus(number))
        opened.allow()
        add_destination(opened)
        yield opened


def _preview(tab: Tab, shop: Shop) -> None:
    tab.go(f"/p/{shop.project}/destinations/{shop.destination.id}")
    tab.page.get_by_role("link", name="Export Data").click()
    tab.page.get_by_label("Start date (UTC)").fill(DAY.date)
    tab.page.get_by_label("End date (UTC)").fill(DAY.date)
    tab.page.get_by_role("button", name="Preview").click()
    tab.page.get_by_role("heading", name="What this export would do").wait_for()


def test_past_hours_are_planned_started_and_seen_to_arrive(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        _preview(tab, shop)
        page = tab.page
        shown = page.locator("#plan-of").inner_text()
        assert "2 events in 2 sealed hours" in shown
        assert "0 objects, 0 bytes; they stay as they are" in shown
        page.get_by_role("button", name="Start Export").click()
        page.get_by_text("0 of 2 hours").wait_for()

        assert shop.deliver() == 2
        tab.tick()
        page.get_by_text("2 of 2 hours").wait_for()
        assert page.locator("td").get_by_text("Success", exact=True).is_visible()

        names = [key.rpartition("/")[2] for key in shop.objects() if key.endswith(".json.gz")]
        assert sorted(names) == [
            f"{shop.project}_{DAY.date}_{number}#1.json.gz" for number in (10, 9)
        ]
        tab.go(f"/p/{shop.project}/destinations/{shop.destination.id}")
        cell = page.locator(f"[id='h{DAY.plus(9)}']")
        assert str(cell.get_attribute("aria-label")).endswith("by manual export 1")
        assert tab.problems == []
        _preview(tab, shop)
        assert "they stay as they are" in page.locator("#plan-of").inner_text()
        assert "0 objects, 0 bytes; they stay" not in page.locator("#plan-of").inner_text()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_it_looks_as_it_should(browser: Chromium, shop: Shop, look: Look) -> None:
    for bypass in (False, True):
        size, scheme = look.size, look.scheme
        with browser.tab(shop, scheme=scheme, size=size, bypass_policy=bypass) as tab:
            tab.sign_in()
            _preview(tab, shop)
            _look(tab, f"export-data-{look.name}", bypass=bypass)
            tab.page.get_by_label("Start date (UTC)").fill("2026-10-01")
            tab.page.get_by_label("End date (UTC)").fill("2026-10-02")
            tab.page.get_by_role("button", name="Preview").click()
            tab.page.get_by_text("There is no data in this range").wait_for()
            _look(tab, f"export-no-data-{look.name}", bypass=bypass)
            tab.page.get_by_role("button", name="Start Export").click()
            # The grid under the dialog says so too, until the list is there.
            tab.page.wait_for_url(re.compile("/manual-exports"))
            tab.page.get_by_text("nothing to export").first.wait_for()
            _look(tab, f"manual-exports-{look.name}", bypass=bypass)


def _look(tab: Tab, name: str, *, bypass: bool) -> None:
    if bypass:
        assert tab.violations() == [], name
        return
    tab.picture(name)
    assert tab.overflow() == 0, name
    assert tab.problems == [], name
