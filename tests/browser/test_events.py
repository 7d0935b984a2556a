"""Sources and events in Chromium, before a real service: each snippet is run as it is shown.

Slow: it starts `tailrace serve`, a browser and two SDKs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tailrace.demo.surroundings import clean
from tests.browser.conftest import Chromium, Tab
from tests.browser.test_first_run import Service, set_up
from tests.browser.test_first_run import service as service
from tests.contract.packages import SDKS, node

pytestmark = pytest.mark.slow

RUN_SECONDS = 60.0
_SDK = SDKS / "node_modules/@amplitude/analytics-browser/lib/scripts/amplitude-min.js"


def _text(tab: Tab, name: str) -> str:
    return str(tab.page.locator(f"#{name}").inner_text())


def _arrived(tab: Tab, count: int) -> None:
    """See that so many first events are there, without a reload."""
    tab.tick()
    tab.page.wait_for_function(
        "count => [...document.querySelectorAll('#arrivals strong')]"
        ".filter((one) => one.textContent === 'First Event').length === count",
        arg=count,
    )


def _run(*command: str, folder: str | None = None) -> None:
    subprocess.run(command, check=True, timeout=RUN_SECONDS, cwd=folder, env=clean(os.environ))


class _ShopPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b"<!doctype html><title>Shop</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop_url() -> Iterator[str]:
    """A page of another origin, of this machine: others may not ask it for anything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ShopPage)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join(RUN_SECONDS)
    server.server_close()


def _visit_shop(tab: Tab, url: str, snippet: str) -> None:
    """Run what a web application would, with the SDK's script in place of the import."""
    program, imports = re.subn(r"^import .*$", "", snippet, flags=re.MULTILINE)
    assert imports == 1
    shop = tab.page.context.new_page()
    shop.goto(url)
    shop.add_script_tag(path=str(_SDK))
    with shop.expect_response(re.compile("/2/httpapi")) as answer:
        shop.add_script_tag(content=program)
    assert answer.value.status == 200
    shop.close()


def _refused(server_url: str, key: str) -> None:
    body = json.dumps({"api_key": key, "events": [{"user_id": "shopper-17"}]}).encode()
    request = urllib.request.Request(server_url, body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=RUN_SECONDS)


def test_every_snippet_sends_an_event_that_is_seen_to_arrive(
    browser: Chromium, service: Service, shop_url: str
) -> None:
    with browser.tab(service) as tab:
        set_up(tab, service)
        tab.page.get_by_role("link", name="Go on without it").click()
        tab.page.get_by_role("link", name="Catalog").click()
        tab.page.get_by_role("link", name="Sources").click()
        tab.page.get_by_text("Waiting for your first event").wait_for()
        tab.picture("sources-waiting")

        _run("sh", "-c", _text(tab, "curl"))
        _arrived(tab, 1)
        _run(sys.executable, "-c", _text(tab, "python"))
        _arrived(tab, 2)
        _run(node(), "-e", _text(tab, "node"), folder=str(SDKS))
        _arrived(tab, 3)
        _visit_shop(tab, shop_url, _text(tab, "browser"))
        _arrived(tab, 4)
        tab.picture("sources-arrived")

        server_url, key = _text(tab, "server-url"), _text(tab, "api-key")
        tab.page.get_by_role("link", name="All events").click()
        tab.page.get_by_role("heading", name="Events", exact=True).wait_for()
        tab.page.get_by_text("No refusal is known of").wait_for()
        _refused(server_url, key)
        tab.tick()
        line = tab.page.get_by_text("missing fields: event_type")
        line.wait_for()
        line.click()
        tab.page.get_by_text('"events_with_missing_fields"').wait_for()
        tab.picture("events-arrived")
        assert tab.problems == []
        sources = tab.page.url.replace("/events", "/catalog/sources")
    for scheme in ("light", "dark"):
        with browser.tab(service, scheme=scheme, bypass_policy=True) as tab:
            tab.sign_in()
            tab.page.goto(sources)
            assert tab.violations() == []
            tab.page.get_by_role("link", name="All events").click()
            # Opened, both an event and a refusal.
            tab.page.get_by_text("missing fields: event_type").click()
            tab.page.locator("summary", has_text="First Event").first.click()
            assert tab.violations() == []
            tab.picture(f"events-open-{scheme}")
