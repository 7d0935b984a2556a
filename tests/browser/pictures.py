"""The pictures of README and docs, taken of the demo: `python -m tests.browser.pictures FOLDER`.

Run by `make screenshots`. The demo's clock is its own, so that they differ little from run to run.
"""

from __future__ import annotations

import base64
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.browser.conftest import FLAGS
from tests.contract.packages import chromium

SIZE = (1120, 760)
# Lossy, but letters stay sharp; a picture is some tens of kilobytes.
QUALITY = 70
READY_SECONDS = 240.0
# So long a silence, and it is looked whether the demo has ended.
LOOK_SECONDS = 1.0
_OPEN = re.compile(r"Open (http://\S+) in")
_SIGN_IN = re.compile(r"sign in +(\S+) / (\S+)")
_POLICY_SEEN = ".code ins, .lacking"


class Demo(msgspec.Struct, frozen=True):
    """A demo that has opened its pages."""

    url: str
    email: str
    password: str


@contextmanager
def demo() -> Iterator[Demo]:
    """Run the demo on a terminal of its own, as a person does, until its pages are open."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tailrace.demo"]
    running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield _opened(ours, running)
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(READY_SECONDS)
        os.close(ours)


def _opened(terminal: int, running: subprocess.Popen[bytes]) -> Demo:
    said, until = "", time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if select.select([terminal], [], [], LOOK_SECONDS)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")
        found, sign_in = _OPEN.search(said), _SIGN_IN.search(said)
        if found is not None and sign_in is not None:
            return Demo(found[1], sign_in[1], sign_in[2])
        if running.poll() is not None:
            break
    raise RuntimeError(f"the demo has not opened its pages: {said[-2000:]}")


def _overview(page: Any, base: str) -> None:
    page.goto(f"{base}/destinations/1")
    page.locator("[data-grid]").wait_for()


def _failure(page: Any, base: str) -> None:
    page.goto(f"{base}/destinations/2/failures")
    page.get_by_text(re.compile("of 8 checks failed")).wait_for()
    page.locator(_POLICY_SEEN).first.wait_for()


def _policy(page: Any, base: str) -> None:
    page.goto(f"{base}/catalog/amazon-s3/new")
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Bucket name").fill("acme-warehouse")
    page.get_by_label("Region").fill("eu-central-1")
    page.get_by_label("Who is let in").fill("arn:aws:iam::111122223333:role/tailrace")
    page.locator("#policy", has_text="role/tailrace").wait_for()


def _plan(page: Any, base: str) -> None:
    page.goto(f"{base}/destinations/1/export")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="What this export would do").wait_for()


PICTURES: dict[str, Callable[[Any, str], None]] = {
    "overview": _overview,
    "failure": _failure,
    "bucket-policy": _policy,
    "manual-export": _plan,
}


def _take(page: Any, path: Path) -> None:
    page.evaluate("window.scrollTo(0, 0)")
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    path.write_bytes(base64.b64decode(taken["data"]))


def main(folder: Path) -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with demo() as shown, sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = launched.new_page(
            viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce"
        )
        page.goto(f"{shown.url}/signin")
        page.get_by_label("E-mail address").fill(shown.email)
        page.get_by_label("Password", exact=True).fill(shown.password)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r".*/p/\d+/"))
        found = re.match(r"(.*/p/\d+)/", page.url)
        assert found is not None
        for name, look in PICTURES.items():
            look(page, found[1])
            _take(page, folder / f"{name}.webp")
        launched.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
