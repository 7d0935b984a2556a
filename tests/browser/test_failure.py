"""The failure page in Chromium: a policy is broken, the cause is read, it is mended, hours go out.

Slow: a browser, an S3 server, and the page in both themes and on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tailrace.app.layout import LAYOUT
from tailrace.demo import seaweed
from tailrace.hours import Hour
from tests.browser.conftest import PHONE, WIDE, Chromium, Tab
from tests.browser.exporting import PREFIX, Look, Shop, open_shop
from tests.export.conftest import clean_environment as clean_environment

pytestmark = pytest.mark.slow

LOOKS = (
    Look("light", "light", WIDE),
    Look("dark", "dark", WIDE),
    Look("phone", "light", PHONE),
)
ALL_BUT_PUT = ("s3:ListBucket", "s3:GetObject", "s3:AbortMultipartUpload", "s3:DeleteObject")


@pytest.fixture
def shop(tmp_path: Path, empty_database: bytes, server: seaweed.Seaweed) -> Iterator[Shop]:
    with open_shop(tmp_path, empty_database, server) as opened:
        yield opened


def _break(shop: Shop) -> str:
    """Deliver an hour, break the policy, and let three more wait; return the page's address."""
    shop.connect()
    first = Hour.parse("2026-11-23T06")
    shop.seal_hour(first)
    assert shop.deliver() == 1
    shop.allow(*ALL_BUT_PUT)
    shop.seal_hour(first.plus(1))
    shop.give_up()
    shop.seal_hour(first.plus(2))
    shop.seal_hour(first.plus(3))
    return f"/p/{shop.project}/destinations/{shop.destination.id}/failures"


@contextmanager
def _checked(tab: Tab) -> Iterator[None]:
    """Leave once checks that begin within have come to their end."""
    tab.page.evaluate(
        "document.addEventListener('htmx:sse:close', () => { window.checked = true; })"
    )
    yield
    tab.page.wait_for_function("() => window.checked")


def test_a_broken_policy_is_read_mended_and_the_waiting_hours_go_out(
    browser: Chromium, shop: Shop
) -> None:
    path = _break(shop)
    with browser.tab(shop) as tab:
        tab.sign_in()
        # The checks run by themselves and say what is so now.
        tab.go(path)
        tab.page.get_by_text("2 of 8 checks failed").wait_for()
        said = tab.page.inner_text("main")
        assert "The store refuses to let tailrace write to this bucket" in said
        assert "3 hours affected" in said
        assert tab.page.locator(".lacking").all_inner_texts() == ["s3:PutObject"]
        assert "s3:PutObject" in tab.page.locator("#to-add-1").inner_text()
        # Checked again before it is mended, nothing has changed.
        with _checked(tab):
            tab.page.get_by_role("button", name="Check again").click()
        assert shop.destination.outage_since_micros is not None
        shop.allow()
        tab.page.get_by_role("button", name="Check again").click()
        tab.page.get_by_role("heading", name="Access is back").wait_for()
        tab.page.get_by_text("The 3 hours that waited are going out now.").wait_for()
        assert shop.deliver() == 3
        tab.tick()
        tab.page.get_by_text("All that waited is delivered.").wait_for()
        assert tab.problems == []
    files = [key for key in shop.objects() if key.endswith(".json.gz")]
    assert len(files) == 4
    assert not any(key.startswith(f"{PREFIX}_tailrace/") for key in shop.objects())


def test_the_failure_page_needs_no_script(browser: Chromium, shop: Shop) -> None:
    path = _break(shop)
    with browser.tab(shop, script=False) as tab:
        tab.sign_in()
        tab.go(path)
        tab.page.get_by_role("button", name="Check again").click()
        tab.page.get_by_text("Write a test object").wait_for()
        shop.allow()
        tab.page.get_by_role("button", name="Check again").click()
        tab.page.get_by_role("heading", name="Access is back").wait_for()
    assert shop.deliver() == 3


def _occupy(shop: Shop) -> str:
    """Let an hour meet other content in its place; return that object's key."""
    shop.connect()
    hour = Hour.parse("2026-11-23T06")
    shop.seal_hour(hour)
    key = LAYOUT.file_key(PREFIX, shop.project, hour, 1)
    owner = shop.server.client(shop.server.owner)
    owner.put_object(Bucket=shop.bucket, Key=key, Body=b"theirs")
    assert shop.deliver() == 1
    return key


@pytest.mark.parametrize("script", [True, False])
def test_what_met_other_content_is_tried_once_a_person_says_so(
    browser: Chromium, shop: Shop, script: bool
) -> None:
    key = _occupy(shop)
    path = f"/p/{shop.project}/destinations/{shop.destination.id}/failures"
    with browser.tab(shop, script=script) as tab:
        tab.sign_in()
        page = tab.page
        # What is still there is met once more, and counted.
        for tries in ("1 try", "2 tries"):
            tab.go(path)
            page.get_by_text(tries).first.wait_for()
            page.get_by_role("button", name="Try now").click()
            page.get_by_role("heading", name="It is being tried now").wait_for()
            if tries == "2 tries":
                owner = shop.server.client(shop.server.owner)
                owner.delete_object(Bucket=shop.bucket, Key=key)
            assert shop.deliver() == 1
        page.get_by_role("link", name="Look again").click()
        page.get_by_role("heading", name="This is mended").wait_for()
        assert tab.problems == []
    assert shop.objects()[key] != b"theirs"


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_a_failure_to_be_tried_looks_as_it_should(
    browser: Chromium, shop: Shop, look: Look
) -> None:
    _occupy(shop)
    with browser.tab(shop, scheme=look.scheme, size=look.size, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/destinations/{shop.destination.id}/failures")
        for name in ("conflict", "tried"):
            tab.picture(f"failure-{name}-{look.name}")
            assert tab.overflow() == 0
            assert tab.violations() == []
            if name == "conflict":
                tab.page.get_by_role("button", name="Try now").click()
                tab.page.get_by_role("heading", name="It is being tried now").wait_for()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_the_failure_page_looks_as_it_should(browser: Chromium, shop: Shop, look: Look) -> None:
    path = _break(shop)
    with browser.tab(shop, scheme=look.scheme, size=look.size, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(path)
        tab.page.get_by_text("2 of 8 checks failed").wait_for()
        tab.picture(f"failure-{look.name}")
        assert tab.overflow() == 0
        assert tab.violations() == []
        shop.allow()
        tab.page.get_by_role("button", name="Check again").click()
        tab.page.get_by_role("heading", name="Access is back").wait_for()
        tab.picture(f"failure-mended-{look.name}")
        assert tab.overflow() == 0
        assert tab.violations() == []
        address = tab.page.url
        shop.deliver()
        tab.go(path)
        tab.picture(f"failure-none-{look.name}")
        assert tab.violations() == []
        assert address.rpartition("/")[2] in tab.page.content()
