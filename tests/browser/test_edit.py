"""Another place for a destination in Chromium, before a real store that enforces its policy.

Slow: a browser and an S3 server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tailrace.demo import seaweed
from tailrace.hours import Hour
from tailrace.state.naming import NAME_CHARACTERS_MAX
from tests.browser.conftest import PHONE, Chromium
from tests.browser.exporting import Shop, open_shop
from tests.export.conftest import clean_environment as clean_environment

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path, empty_database: bytes, server: seaweed.Seaweed) -> Iterator[Shop]:
    with open_shop(tmp_path, empty_database, server) as opened:
        yield opened


def test_what_is_owed_goes_to_the_new_place_once_access_to_it_works(
    browser: Chromium, shop: Shop
) -> None:
    first = Hour.parse("2026-11-23T06")
    shop.connect()
    shop.seal_hour(first)
    shop.deliver()
    before = shop.objects().keys()
    shop.seal_hour(first.plus(1))
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/destinations/1/configuration")
        tab.page.get_by_role("link", name="Change name, bucket or access").click()
        # The policy follows what is typed, and the bucket's own does not let this prefix in yet.
        tab.page.get_by_label("Prefix").fill("moved/")
        tab.page.locator("#policy", has_text="moved/*").wait_for()
        tab.page.get_by_label("Prefix").press("Enter")
        tab.page.get_by_role("heading", name="How to fix it").wait_for()
        assert tab.page.get_by_label("Prefix").input_value() == "moved/"
        # What is to be added lets tailrace into the place that was checked, not into the old one.
        added = tab.page.get_by_label("To add").inner_text()
        assert f"{shop.bucket}/moved/*" in added
        assert "raw/" not in added
        tab.picture("edit-refused")
        assert shop.destination.prefix == "raw/"

        shop.server.put_document(shop.bucket, tab.page.locator("#policy").inner_text())
        tab.page.get_by_label("Who is let in").fill(shop.server.exporter_arn)
        tab.page.locator("#policy", has_text=shop.server.exporter_arn).wait_for()
        shop.server.put_document(shop.bucket, tab.page.locator("#policy").inner_text())
        tab.page.get_by_role("button", name="Check access and save").click()
        tab.page.wait_for_url("**/configuration")
        assert "moved/" in tab.page.inner_text("main")
        assert tab.problems == []
    assert shop.destination.prefix == "moved/"
    assert shop.deliver() == 1
    # What was delivered before stays where it is.
    added = shop.objects().keys() - before
    assert before <= shop.objects().keys()
    assert added
    assert all(key.startswith("moved/") for key in added)


def test_another_encryption_is_checked_at_the_store_and_holds_from_the_next_hour_on(
    browser: Chromium, shop: Shop
) -> None:
    first = Hour.parse("2026-11-23T06")
    shop.connect()
    shop.seal_hour(first)
    shop.deliver()
    before = shop.objects().keys()
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/destinations/1/edit")
        key = tab.page.get_by_label("KMS key", exact=True)
        tab.page.get_by_label("Encryption").select_option("SSE-KMS, with a KMS key")
        key.fill("acme-exports")
        tab.page.get_by_role("button", name="Check access and save").click()
        tab.page.wait_for_url("**/configuration")
        assert "SSE-KMS with acme-exports" in tab.page.inner_text("main")
        assert tab.problems == []
    shop.seal_hour(first.plus(1))
    shop.deliver()
    owner = shop.server.client(shop.server.owner)
    for name in shop.objects():
        found = owner.head_object(Bucket=shop.bucket, Key=name).get("SSEKMSKeyId")
        assert found == (None if name in before else "acme-exports"), name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_that_was_never_verified_is_led_to_the_checks_that_switch_it_on(
    browser: Chromium, shop: Shop, scheme: str
) -> None:
    assert not shop.add().passed
    with browser.tab(shop, scheme=scheme, size=PHONE, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/destinations/1/configuration")
        tab.page.get_by_role("link", name="Change name, bucket or access").click()
        tab.page.get_by_role("heading", name="The set-up is not finished").wait_for()
        assert tab.violations() == []
        assert tab.overflow() == 0
        tab.picture(f"edit-unfinished-phone-{scheme}")
        shop.allow()
        tab.page.get_by_role("button", name="Go on with the set-up").press("Enter")
        tab.page.get_by_role("heading", name="Set Up Bucket Policy").wait_for()
        assert tab.page.get_by_label("Bucket name").input_value() == shop.bucket
        tab.page.get_by_role("button", name="Next").press("Enter")
        tab.page.get_by_role("heading", name="Access works").wait_for()
    assert shop.destination.state == "active"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_pages_and_that_of_a_file_can_be_used_by_everybody(
    browser: Chromium, shop: Shop, scheme: str
) -> None:
    hour = Hour.parse("2026-11-23T06")
    shop.connect()
    shop.seal_hour(hour)
    shop.deliver()
    # One file of the next hour is out before the hour is sealed.
    shop.world.put_file(1, next(iter(shop.objects().values())), hour.plus(1))
    shop.deliver()
    with browser.tab(shop, scheme=scheme, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/destinations/1/hours/{hour}")
        tab.page.get_by_role("link", name="#1.json.gz").click()
        tab.page.get_by_role("heading", level=1, name="json.gz").wait_for()
        assert tab.violations() == []
        tab.picture(f"hour-file-{scheme}")
        tab.go(f"/p/{shop.project}/destinations/1/edit")
        tab.page.get_by_label("Prefix").fill("moved/")
        tab.page.get_by_label("Prefix").press("Enter")
        tab.page.get_by_role("heading", name="How to fix it").wait_for()
        assert tab.violations() == []
        shop.server.put_policy(shop.bucket, seaweed.export_policy("moved/"))
        tab.page.get_by_role("button", name="Check access and save").click()
        tab.page.get_by_role("heading", name="Hours that were begun at the old place").wait_for()
        assert tab.violations() == []
        assert tab.overflow() == 0
        tab.picture(f"edited-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_longest_name_has_room_everywhere(browser: Chromium, shop: Shop, scheme: str) -> None:
    assert not shop.add().passed
    added, base = shop.destination, f"/p/{shop.project}"
    wanted = msgspec.structs.replace(added, name="W" * NAME_CHARACTERS_MAX)
    shop.world.destinations.edit(added, wanted, None, now_micros=0)
    with browser.tab(shop, scheme=scheme, size=PHONE, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(f"{base}/destinations/1")
        tab.picture(f"overview-unfinished-phone-{scheme}")
        assert tab.violations() == []
        tab.page.get_by_role("button", name="Go on with the set-up").click()
        tab.page.get_by_role("heading", name="Set Up Bucket Policy").wait_for()
        assert tab.overflow() == 0
        # Now that there is a set-up, the overview leads to it, also after it was changed there.
        tab.go(f"{base}/destinations/1")
        link = tab.page.get_by_role("link", name="Go on with the set-up")
        verify = link.get_attribute("href") or ""
        assert verify.endswith("/verify")
        data = verify.replace("/verify", "/data")
        addresses = [f"{base}/catalog/destinations", f"{base}/destinations", data]
        tabs = ("", "/configuration", "/manage", "/edit", "/failures", "/activity")
        for address in (*addresses, *(f"{base}/destinations/1{end}" for end in tabs)):
            tab.go(address)
            tab.picture(f"longest-name{address.replace('/', '-')}-phone-{scheme}")
            assert tab.overflow() == 0, address
        tab.go(data)
        assert tab.page.get_by_label("Name of the destination").input_value() == wanted.name
        tab.page.get_by_label("Name of the destination").fill(" ")
        tab.page.get_by_role("button", name="Next").click()
        tab.page.get_by_role("alert").wait_for()
        assert tab.violations() == []
        tab.picture(f"wizard-name-wrong-phone-{scheme}")
