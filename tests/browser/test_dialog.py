"""Pages that are dialogs, in Chromium: by keyboard, Escape, Back, with errors, and without script.

Slow: a browser and an S3 server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.demo import seaweed
from tailrace.hours import Hour
from tests.browser.conftest import PHONE, WIDE, Chromium, Tab
from tests.browser.exporting import Shop, open_shop
from tests.export.conftest import clean_environment as clean_environment

pytestmark = pytest.mark.slow

HOUR = Hour.parse("2026-11-23T06")


@pytest.fixture
def shop(tmp_path: Path, empty_database: bytes, server: seaweed.Seaweed) -> Iterator[Shop]:
    with open_shop(tmp_path, empty_database, server) as opened:
        opened.connect()
        opened.seal_hour(HOUR)
        opened.deliver()
        yield opened


def _path(shop: Shop) -> str:
    return f"/p/{shop.project}/destinations/1"


def _open(tab: Tab, name: str) -> None:
    """Open a dialog by the keyboard, as its link has the focus."""
    tab.page.get_by_role("link", name=name).focus()
    tab.page.keyboard.press("Enter")
    tab.page.locator("dialog[open] h1").wait_for()


def test_it_opens_over_the_page_and_goes_back_to_where_the_focus_was(
    browser: Chromium, shop: Shop
) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        for name, end in (("Export Data", "export"), ("Manage", "manage")):
            _open(tab, name)
            assert tab.page.url.endswith(f"{_path(shop)}/{end}")
            assert tab.page.evaluate(
                "document.querySelector('dialog').contains(document.activeElement)"
            )
            tab.picture(f"dialog-{end}")
            tab.page.keyboard.press("Escape")
            tab.page.wait_for_url(re.compile(f"{_path(shop)}$"))
            assert tab.page.locator("dialog[open]").count() == 0
            tab.page.wait_for_function(
                "name => document.activeElement.textContent.trim() === name", arg=name
            )
            _open(tab, name)
            tab.page.go_back()
            tab.page.locator("dialog[open]").wait_for(state="detached")
            assert tab.page.url.endswith(_path(shop))
            # Reloaded, it is the page that it is.
            _open(tab, name)
            tab.page.reload()
            tab.page.get_by_role("heading", level=1).wait_for()
            assert tab.page.locator("dialog").count() == 0
            tab.go(_path(shop))
        assert tab.problems == []


def test_what_is_wrong_stays_in_the_dialog_and_what_is_right_leads_on(
    browser: Chromium, shop: Shop
) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Export Data")
        inside = tab.page.locator("dialog[open]")
        link = inside.get_by_role("link", name="Yesterday").element_handle()
        link.click()
        # The form is another one then.
        link.wait_for_element_state("hidden")
        inside.get_by_label("Start date (UTC)").fill("2999-01-01")
        inside.get_by_role("button", name="Preview").click()
        inside.get_by_text("is in the future").wait_for()
        assert tab.page.evaluate("document.activeElement.name") == "first_date"
        inside.get_by_label("Start date (UTC)").fill(HOUR.date)
        inside.get_by_label("End date (UTC)").fill(HOUR.date)
        inside.get_by_role("button", name="Preview").click()
        inside.get_by_role("heading", name="What this export would do").wait_for()
        inside.get_by_role("button", name="Start Export").click()
        tab.page.wait_for_url(re.compile("/manual-exports"))
        tab.page.get_by_text("of 1 hour").wait_for()

        tab.go(_path(shop))
        _open(tab, "Manage")
        tab.page.locator("dialog[open]").get_by_role("button", name="Switch off").click()
        tab.page.locator("dialog[open]").get_by_text("New hours are kept here; ").wait_for()
        tab.page.locator("dialog[open]").get_by_role("button", name="Close").click()
        tab.page.wait_for_url(re.compile(f"{_path(shop)}$"))
        assert tab.problems == []
    assert shop.destination.state == "paused"


def test_an_error_of_the_service_is_told_in_the_dialog(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Manage")
        # Meanwhile somebody else has switched them off.
        shop.world.destinations.pause(1)
        inside = tab.page.locator("dialog[open]")
        inside.get_by_role("button", name="Switch off").click()
        inside.get_by_text("Cannot pause destination 1: it is paused").wait_for()
        assert tab.page.url.endswith(f"{_path(shop)}/manage")


def test_who_presses_twice_starts_one_export(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Export Data")
        inside = tab.page.locator("dialog[open]")
        inside.get_by_label("Start date (UTC)").fill(HOUR.date)
        inside.get_by_label("End date (UTC)").fill(HOUR.date)
        inside.get_by_role("button", name="Start Export").dblclick()
        tab.page.wait_for_url(re.compile("/manual-exports"))
        tab.page.get_by_text("of 1 hour").wait_for()
        assert tab.page.locator("[id^='export-']").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out_by_it(browser: Chromium, shop: Shop, scheme: str) -> None:
    for size in (WIDE, PHONE):
        with browser.tab(shop, scheme=scheme, size=size, bypass_policy=True) as tab:
            tab.sign_in()
            tab.go(_path(shop))
            for name in ("Export Data", "Manage"):
                _open(tab, name)
                assert tab.violations() == []
                assert tab.overflow() == 0
                if size == PHONE:
                    tab.picture(f"dialog-{name.split()[0].lower()}-phone-{scheme}")
                tab.page.keyboard.press("Escape")
                tab.page.locator("dialog[open]").wait_for(state="detached")


def test_a_form_whose_answer_is_lost_is_not_sent_again(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Manage")
        sent: list[str] = []

        def lose(route: Any) -> None:
            sent.append(route.request.url)
            route.abort()

        tab.page.route(re.compile("/manage/pause"), lose)
        inside = tab.page.locator("dialog[open]")
        inside.get_by_role("button", name="Switch off").click()
        inside.get_by_text("No answer came").wait_for()
        assert len(sent) == 1
        assert inside.get_by_role("heading", level=1).inner_text() == "Manage Export Settings"
    assert shop.destination.state == "active"


def test_a_dialog_that_is_closed_while_it_sends_stays_closed(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Manage")
        held: list[Any] = []
        tab.page.route(re.compile("/manage/pause"), lambda route: held.append(route))
        tab.page.get_by_role("button", name="Switch off").click()
        while not held:
            tab.page.evaluate("1")
        tab.page.keyboard.press("Escape")
        tab.page.wait_for_url(re.compile(f"{_path(shop)}$"))
        with tab.page.expect_response(re.compile("/manage$")):
            held[0].continue_()
        # Another dialog opens as ever, and the late answer is not in it.
        _open(tab, "Export Data")
        assert tab.page.locator("dialog[open] h1").inner_text() == "Export Data"
        assert tab.page.url.endswith("/export")
        assert tab.problems == []
    assert shop.destination.state == "paused"


def test_back_and_forward_lead_to_what_was_there(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Manage")
        tab.page.go_back()
        tab.page.locator("dialog[open]").wait_for(state="detached")
        tab.page.go_forward()
        tab.page.locator("dialog[open] h1").wait_for()
        assert tab.page.url.endswith("/manage")
        # Reloaded it is a page; back from that is the one that it was over.
        tab.page.reload()
        tab.page.go_back()
        tab.page.get_by_role("heading", name="Every hour").wait_for()
        assert tab.page.url.endswith(_path(shop))


# What a browser tells of a dialog that it has closed comes later, and may come very late.
_CLOSED_LATE = """
const box = document.querySelector("dialog[data-page]");
window.addEventListener("close", (event) => {
  if (event.late) return;
  event.stopImmediatePropagation();
  window.tellClosed = () => box.dispatchEvent(Object.assign(new Event("close"), { late: true }));
}, true);
"""


def _back_and_forward(tab: Tab, pattern: str) -> Any:
    """Go back and forward to a dialog; return the request for it, which waits."""
    tab.page.go_back()
    tab.page.locator("dialog[open]").wait_for(state="detached")
    held: list[Any] = []
    tab.page.route(re.compile(pattern), lambda route: held.append(route))
    tab.page.go_forward()
    while not held:
        tab.page.evaluate("1")
    return held[0]


def test_forward_right_after_back_opens_it_again(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Manage")
        tab.page.evaluate(_CLOSED_LATE)
        request = _back_and_forward(tab, "/manage$")
        tab.page.evaluate("tellClosed()")
        request.continue_()
        tab.page.locator("dialog[open] h1").wait_for()
        assert tab.page.url.endswith("/manage")
        assert tab.problems == []


def test_back_while_it_opens_leaves_it_closed(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _open(tab, "Manage")
        request = _back_and_forward(tab, "/manage$")
        tab.page.go_back()
        tab.page.wait_for_url(re.compile(f"{_path(shop)}$"))
        with tab.page.expect_response(re.compile("/manage$")):
            request.continue_()
        # What is asked for now comes later than that answer.
        tab.page.evaluate("fetch(location.href).then((answer) => answer.text())")
        assert tab.page.locator("dialog[open]").count() == 0
        assert tab.page.url.endswith(_path(shop))
        assert tab.problems == []


def test_a_page_that_is_open_when_its_session_ends_stays_and_says_so(
    browser: Chromium, shop: Shop
) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(f"{_path(shop)}/automatic-exports")
        tab.page.context.clear_cookies()
        tab.tick()
        tab.page.get_by_text("You are signed out").wait_for()
        assert tab.page.locator("h1").count() == 1
        assert "Sign in" not in tab.page.title()


def _hour(tab: Tab, hour: Hour) -> Any:
    return tab.page.locator(f"[data-grid] [id='h{hour}']")


def _marked(tab: Tab) -> list[str]:
    ids: list[str] = tab.page.locator("[data-grid] [aria-current]").evaluate_all(
        "(cells) => cells.map((one) => one.id)"
    )
    return ids


def _title(tab: Tab, hours: str) -> None:
    tab.page.locator("dialog[open]").get_by_role("heading", level=1, name=hours).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_hour_opens_beside_the_grid_which_stays_in_use(
    browser: Chromium, shop: Shop, scheme: str
) -> None:
    shop.seal_hour(HOUR.next())
    shop.deliver()
    with browser.tab(shop, scheme=scheme, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _hour(tab, HOUR).click()
        _title(tab, "06:00 to 07:00")
        assert tab.page.url.endswith(f"/hours/{HOUR}")
        assert _marked(tab) == [f"h{HOUR}"]
        tab.picture(f"hour-beside-{scheme}")
        assert tab.violations() == []
        assert tab.overflow() == 0
        # Another hour takes its place, also by the keyboard, and so does the one before it.
        _hour(tab, HOUR.next()).focus()
        tab.page.keyboard.press("Enter")
        _title(tab, "07:00 to 08:00")
        assert tab.page.url.endswith(f"/hours/{HOUR.next()}")
        # It stays marked when the grid is drawn anew.
        shop.seal_hour(HOUR.next().next())
        shop.deliver()
        tab.tick()
        tab.page.locator(f"[data-grid] [id='h{HOUR.next().next()}'].exported").wait_for()
        assert _marked(tab) == [f"h{HOUR.next()}"]
        tab.page.locator("dialog[open]").get_by_role("link", name="The hour before").click()
        _title(tab, "06:00 to 07:00")
        # One step back leads to the grid, and to the hour that was chosen there.
        tab.page.keyboard.press("Escape")
        tab.page.locator("dialog[open]").wait_for(state="detached")
        tab.page.wait_for_url(re.compile(f"{_path(shop)}$"))
        assert tab.page.evaluate("document.activeElement.id") == f"h{HOUR.next()}"
        assert _marked(tab) == []
        _hour(tab, HOUR).click()
        _title(tab, "06:00 to 07:00")
        tab.page.locator("dialog[open]").get_by_role("link", name="Export again").click()
        _title(tab, "Export Data")
        assert tab.page.get_by_label("Start date (UTC)").input_value() == HOUR.date
        assert tab.page.evaluate("document.querySelector('dialog').matches(':modal')")
        tab.page.go_back()
        tab.page.locator("dialog[open]").wait_for(state="detached")
        assert tab.page.url.endswith(_path(shop))
        assert tab.problems == []


def test_an_hour_is_a_page_of_its_own_where_there_is_no_room(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop, size=PHONE) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        _hour(tab, HOUR).click()
        tab.page.get_by_role("navigation", name="Where this is").get_by_text("06:00").wait_for()
        assert tab.page.locator("dialog").count() == 0


def test_without_script_it_is_a_page(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop, script=False) as tab:
        tab.sign_in()
        tab.go(_path(shop))
        tab.page.get_by_role("link", name="Export Data").click()
        tab.page.get_by_role("heading", name="Export Data").wait_for()
        assert tab.page.locator("dialog").count() == 0
