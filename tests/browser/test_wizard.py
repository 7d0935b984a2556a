"""The wizard in Chromium: from the catalog to the first exported file, at a store with policies.

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
    with open_shop(tmp_path, empty_database, server) as opened:
        yield opened


def _connect(tab: Tab, shop: Shop) -> None:
    """Go from the catalog to the second step."""
    tab.go(f"/p/{shop.project}/catalog/destinations")
    tab.page.get_by_role("link", name="Connect Amazon S3").click()
    tab.page.get_by_label("Export events ingested today and moving forward").check()
    tab.page.get_by_role("button", name="Next").click()
    tab.page.get_by_role("heading", name="Set Up Bucket Policy").wait_for()


def _type(tab: Tab, shop: Shop) -> None:
    """Type the bucket and the access as a person does."""
    page = tab.page
    page.get_by_label("Bucket name").press_sequentially(shop.bucket)
    page.get_by_label("Region").fill("us-east-1")
    page.get_by_label("Prefix").fill(PREFIX)
    page.get_by_text("Using MinIO, R2 or another store?").click()
    page.get_by_label("Endpoint URL").fill(shop.server.endpoint_url)
    page.get_by_label("An access key").check()
    page.get_by_label("Access key ID").fill(shop.server.exporter.access_key_id)
    page.get_by_label("Secret access key").fill(shop.server.exporter.secret_access_key)
    page.get_by_label("Who is let in").fill(shop.server.exporter_arn)


def test_from_the_catalog_to_the_first_exported_file(browser: Chromium, shop: Shop) -> None:
    hour = Hour.parse("2026-11-23T09")
    data = shop.seal_hour(hour)
    with browser.tab(shop) as tab:
        tab.sign_in()
        _connect(tab, shop)
        tab.page.locator("#policy").get_by_text("YOUR-BUCKET").first.wait_for()
        _type(tab, shop)
        # The policy follows what is typed, and what is being typed stays.
        shown = tab.page.locator("#policy")
        tab.page.wait_for_function(
            "arn => document.querySelector('#policy').textContent.includes(arn)",
            arg=shop.server.exporter_arn,
        )
        assert f"arn:aws:s3:::{shop.bucket}/{PREFIX}*" in shown.inner_text()
        assert tab.page.get_by_label("Bucket name").input_value() == shop.bucket
        assert tab.page.get_by_label("Endpoint URL").is_visible()
        shop.allow("s3:ListBucket", "s3:GetObject", "s3:AbortMultipartUpload", "s3:DeleteObject")
        tab.page.get_by_role("button", name="Next").click()
        # Checks run by themselves, and name what the bucket's policy lacks.
        tab.page.get_by_role("heading", name="How to fix it").wait_for()
        assert tab.page.locator("ins").all_inner_texts() == ['        "s3:PutObject",\n']
        shop.server.put_document(shop.bucket, tab.page.locator("#fix-policy").inner_text())
        tab.page.get_by_role("button", name="Check again").click()
        tab.page.get_by_role("heading", name="Access works").wait_for()
        assert "The one closed hour of today is going out now" in tab.page.inner_text("main")
        assert tab.problems == []
    assert shop.deliver() == 1
    name = f"{shop.project}_2026-11-23_9"
    objects = shop.objects()
    assert objects.pop(f"{PREFIX}{shop.project}/{name}#1.json.gz") == data
    assert set(objects) == {
        f"{PREFIX}{shop.project}/{name}_complete",
        f"{PREFIX}_manifests/{shop.project}/{name}.json",
    }


def test_the_wizard_needs_no_script(browser: Chromium, shop: Shop) -> None:
    shop.allow()
    with browser.tab(shop, script=False) as tab:
        tab.sign_in()
        _connect(tab, shop)
        _type(tab, shop)
        key = tab.page.get_by_label("KMS key", exact=True)
        assert not key.is_visible()
        tab.page.get_by_label("Encryption").select_option("SSE-KMS, with a KMS key")
        key.fill("acme-exports")
        tab.page.get_by_role("button", name="Generate Bucket Policy").click()
        assert shop.bucket in tab.page.locator("#policy").inner_text()
        tab.page.get_by_role("button", name="Next").click()
        tab.page.get_by_role("button", name="Check access").click()
        tab.page.get_by_role("heading", name="Access works").wait_for()
    found = shop.destination
    assert (found.state, found.encryption, found.kms_key_arn) == (
        "active",
        "aws:kms",
        "acme-exports",
    )


def test_what_was_typed_survives_a_reload_and_another_browser(
    browser: Chromium, shop: Shop
) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        _connect(tab, shop)
        tab.page.get_by_label("Bucket name").fill("acme_raw")
        alert = tab.page.get_by_role("alert")
        alert.get_by_text("3 to 63 lower-case letters").wait_for()
        assert tab.page.evaluate("document.activeElement.name") == "bucket"
        tab.page.get_by_role("button", name="Generate Bucket Policy").click()
        tab.page.wait_for_load_state()
        tab.page.reload()
        address = tab.page.url
    with browser.tab(shop) as other:
        other.sign_in()
        other.page.goto(address)
        assert other.page.get_by_label("Bucket name").input_value() == "acme_raw"


def _tab_to(tab: Tab, name: str) -> None:
    """Press Tab until the element of this name or text has the focus."""
    told = "(document.activeElement.name || document.activeElement.textContent).trim()"
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate(told) == name:
            return
    raise AssertionError(f"no way leads to {name} by the keyboard")


def test_the_wizard_is_used_by_the_keyboard_alone(browser: Chromium, shop: Shop) -> None:
    with browser.tab(shop) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/catalog/destinations")
        keys = tab.page.keyboard
        _tab_to(tab, "Connect Amazon S3")
        keys.press("Enter")
        tab.page.get_by_role("heading", name="Choose data").wait_for()
        _tab_to(tab, "data")
        _tab_to(tab, "data")
        keys.press("Space")
        keys.press("Enter")
        tab.page.get_by_role("heading", name="Set Up Bucket Policy").wait_for()
        _tab_to(tab, "bucket")
        keys.type(shop.bucket)
        keys.press("Enter")
        # What is wrong has the focus.
        tab.page.get_by_role("alert").wait_for()
        assert tab.page.evaluate("document.activeElement.name") == "region"
        keys.type("us-east-1")
        _tab_to(tab, "Using MinIO, R2 or another store?")
        keys.press("Enter")
        _tab_to(tab, "endpoint_url")
        keys.type(shop.server.endpoint_url)
        _tab_to(tab, "access")
        keys.press("ArrowDown")
        keys.press("ArrowDown")
        for name, text in (
            ("access_key_id", shop.server.exporter.access_key_id),
            ("secret_access_key", shop.server.exporter.secret_access_key),
        ):
            _tab_to(tab, name)
            keys.type(text)
        keys.press("Enter")
        tab.page.wait_for_url(re.compile("/verify$"))
    found = shop.destination
    assert (found.region, found.endpoint_url, found.access_key_id) == (
        "us-east-1",
        shop.server.endpoint_url,
        shop.server.exporter.access_key_id,
    )
    assert found.data_types == ("events", "merged-ids")


def _look(tab: Tab, name: str) -> None:
    tab.picture(name)
    assert tab.overflow() == 0, f"{name} is {tab.overflow()} px too wide"
    assert tab.violations() == [], name


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_every_step_looks_as_it_should(browser: Chromium, shop: Shop, look: Look) -> None:
    shop.seal_hour(Hour.parse("2026-11-23T09"), 2000)
    with browser.tab(shop, scheme=look.scheme, size=look.size, bypass_policy=True) as tab:
        tab.sign_in()
        tab.go(f"/p/{shop.project}/catalog/amazon-s3/new")
        tab.page.get_by_text("One line of it").first.click()
        _look(tab, f"wizard-data-{look.name}")
        _connect(tab, shop)
        _look(tab, f"wizard-policy-empty-{look.name}")
        tab.page.get_by_label("Bucket name").fill("Acme_Raw")
        tab.page.get_by_role("alert").first.wait_for()
        _look(tab, f"wizard-policy-wrong-{look.name}")
        tab.page.get_by_label("Region").fill("eu-west-1")
        tab.page.get_by_label("Encryption").select_option("SSE-KMS, with a KMS key")
        tab.page.get_by_label("KMS key", exact=True).fill("alias/exports")
        tab.page.get_by_text("write its ARN").wait_for()
        tab.page.get_by_text("For the key, as AWS CLI lines").click()
        _look(tab, f"wizard-key-{look.name}")
        tab.page.get_by_label("Encryption").select_option("The bucket's default")
        tab.page.locator("#key-policy").wait_for(state="detached")
        assert not tab.page.get_by_label("KMS key", exact=True).is_visible()
        tab.page.get_by_label("Bucket name").fill("")
        _type(tab, shop)
        tab.page.get_by_text("Send to an AWS admin").click()
        _look(tab, f"wizard-policy-{look.name}")
        shop.allow("s3:ListBucket", "s3:GetObject")
        tab.page.get_by_role("button", name="Next").click()
        tab.page.get_by_role("heading", name="How to fix it").wait_for()
        _look(tab, f"wizard-missing-{look.name}")
        tab.go(f"/p/{shop.project}/catalog/destinations")
        _look(tab, f"catalog-unfinished-{look.name}")
        shop.allow()
        tab.page.get_by_role("link", name="Go on").click()
        tab.page.get_by_role("heading", name="Access works").wait_for()
        tab.page.wait_for_url(re.compile("/verify$"))
        _look(tab, f"wizard-done-{look.name}")
