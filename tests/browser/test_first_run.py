"""The first run in Chromium, before a real service: from the printed link to the first event.

Slow: it starts `tailrace serve`, and then a browser.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tailrace.demo.surroundings import clean
from tests.browser.conftest import EMAIL, PASSWORD, Chromium, Tab

pytestmark = pytest.mark.slow

READY_SECONDS = 60.0


class Service(msgspec.Struct, frozen=True):
    """A service that is ready, by what it printed."""

    url: str
    begin: str


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    command = [sys.executable, "-m", "tailrace"]
    data = ["--data", str(tmp_path / "data")]
    environment = clean(os.environ)
    subprocess.run([*command, "init", *data], env=environment, check=True, capture_output=True)
    said = tmp_path / "said"
    listen = ["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"]
    with said.open("w") as out:
        serving = subprocess.Popen(
            [*command, "serve", *data, *listen],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + READY_SECONDS
        while "tailrace is ready" not in said.read_text():
            assert time.monotonic() < until, said.read_text()
            assert serving.poll() is None, said.read_text()
            time.sleep(0.1)
        found = re.search(r"begin: +((http://[^/]+)/first-run\S+)", said.read_text())
        assert found is not None, said.read_text()
        yield Service(found[2], found[1].removeprefix(found[2]))
    finally:
        serving.terminate()
        serving.wait(30)


def set_up(tab: Tab, service: Service) -> None:
    tab.go(service.begin)
    tab.page.get_by_label("Your e-mail address").fill(EMAIL)
    tab.page.get_by_label("Password", exact=True).fill(PASSWORD)
    tab.page.get_by_label("The same password again").fill(PASSWORD)
    tab.page.get_by_label("Organization").fill("Acme")
    tab.page.get_by_label("Project").fill("Shop")
    tab.page.get_by_role("button", name="Go on").click()
    tab.page.get_by_role("heading", name="Send the first event").wait_for()


def _send(tab: Tab) -> None:
    """Run the command that the page shows, as it is shown."""
    command = tab.page.locator("#curl").inner_text()
    answer = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    assert '"code":200' in answer.stdout.replace(" ", ""), answer.stdout


def test_the_first_event_is_seen_to_arrive_without_a_reload(
    browser: Chromium, service: Service
) -> None:
    with browser.tab(service) as tab:
        set_up(tab, service)
        tab.page.get_by_text("Waiting for your first event").wait_for()
        tab.picture("first-event-waiting")
        _send(tab)
        tab.page.get_by_role("heading", name="It arrived").wait_for()
        assert tab.page.get_by_text("First Event", exact=True).count() == 1
        tab.picture("first-event-arrived")
        assert tab.problems == []
        # Once there is an admin, the link is void, for everybody.
        tab.go(service.begin, 403)


def test_the_first_run_needs_no_script(browser: Chromium, service: Service) -> None:
    with browser.tab(service, script=False) as tab:
        set_up(tab, service)
        _send(tab)
        tab.page.get_by_role("link", name="Look again").click()
        tab.page.get_by_role("heading", name="It arrived").wait_for()
