"""Chromium before a real service's pages, and what it says about each of them.

Needs Chromium, Playwright, axe-core and the browser's libraries; without them tests are skipped, or
fail under CI=true. `SCREENSHOTS=folder` keeps pictures of every page that is looked at.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from argon2.profiles import CHEAPEST

from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import NewPerson, add_person
from tailrace.accounts.projects import NewProject, add_organization, add_project
from tailrace.app.recent import RecentEvents
from tailrace.clock import SystemClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.ops.status import StatusReader
from tailrace.settings import Settings, WebSettings
from tailrace.state.database import open_database
from tailrace.web.application import application
from tailrace.web.attempts import Attempts
from tailrace.web.site import Site
from tailrace.web.static_files import StaticFiles, missing_libraries
from tests.contract.packages import chromium, missing

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, PHONE = (1280, 900), (390, 844)
EMAIL, PASSWORD = "dana@acme.example", "correct horse battery"
# Limits for what hangs; a browser that shares two cores with other tests is slow, not stuck.
WAIT_MS = 30_000
TEST_SECONDS = 300

# The rules of WCAG 2.2 AA, and what axe calls best practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of this folder more time than others have."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


class Served:
    """A site that listens, and its organization Acme with the project Shop."""

    def __init__(self, site: Site, url: str, organization: int, made: NewProject) -> None:
        self.site = site
        self.url = url
        self.organization = organization
        self.made = made
        self.project = made.project_id

    def add_admin(self, email: str = EMAIL) -> None:
        """Add somebody who can sign in."""
        add_person(
            self.site.engine,
            self.organization,
            NewPerson(email, "admin", "Dana Berg", PASSWORD),
            passwords=self.site.passwords,
            clock=self.site.clock,
        )


class Addressed(Protocol):
    """Anything with pages."""

    @property
    def url(self) -> str:
        """Where they are, without a slash at the end."""
        ...


class Tab:
    """One page in Chromium. `problems` are what its console and its policy complained of."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def go(self, path: str, status: int = 200) -> None:
        """Open a page of the site, which must answer with this status."""
        answer = self.page.goto(self.url + path)
        assert answer.status == status, f"{path}: {answer.status}"

    def sign_in(self, email: str = EMAIL) -> None:
        """Sign in as a person does, by the keyboard."""
        self.go("/signin")
        self.page.get_by_label("E-mail address").focus()
        self.page.keyboard.type(email)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(re.compile(r"^(?!.*/signin)"))

    def tick(self) -> None:
        """Let live parts ask at once, as when somebody comes back to the page."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong, a line each."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        # What is right is not told in detail: on a page with many links that takes seconds.
        found = self.page.evaluate(
            "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, "
            "resultTypes: ['violations']}).then((result) => result.violations)",
            TAGS,
        )
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
            for one in found
            for node in one["nodes"]
        ]

    def picture(self, name: str) -> None:
        """Keep a picture of the whole page, if pictures are asked for."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            self.page.screenshot(path=str(Path(folder, f"{name}.png")), full_page=True)

    def _heard(self, message: Any) -> None:
        # A status that the page meant to have, such as 422, is an error to the browser.
        if message.type in ("error", "warning") and "server responded with a status of 4" not in (
            message.text
        ):
            self.problems.append(message.text)


class Chromium:
    """The browser, and tabs that know nothing of each other."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @contextmanager
    def tab(
        self,
        served: Addressed,
        *,
        size: tuple[int, int] = WIDE,
        scheme: str = "light",
        script: bool = True,
        bypass_policy: bool = False,
    ) -> Iterator[Tab]:
        """Open a tab; the policy is bypassed only for axe-core, which is put into the page."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=script,
            bypass_csp=bypass_policy,
            reduced_motion="reduce",
        )
        try:
            yield Tab(context.new_page(), served.url)
        finally:
            context.close()


_OPEN = pytest.StashKey[Chromium]()


# Not for the session: while it is open, nothing else in this thread can run an event loop.
@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Chromium:
    """Chromium, which stays open as long as tests of this folder follow one another."""
    folder: pytest.Collector = request.node.parent
    if _OPEN not in folder.stash:
        opened = ExitStack()
        folder.addfinalizer(opened.close)
        folder.stash[_OPEN] = opened.enter_context(_chromium())
        opened.callback(folder.stash.__delitem__, _OPEN)
    return folder.stash[_OPEN]


@contextmanager
def _chromium() -> Iterator[Chromium]:
    program = chromium()
    if importlib.util.find_spec("playwright") is None or not AXE.exists() or missing_libraries():
        missing("Playwright, axe-core or the browser's libraries are missing: sh scripts/browser")
    from playwright.sync_api import sync_playwright

    if os.environ.get("SCREENSHOTS"):
        Path(os.environ["SCREENSHOTS"]).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield Chromium(launched)
        launched.close()


@pytest.fixture
def served(tmp_path: Path, empty_database: bytes) -> Iterator[Served]:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    folder.database.write_bytes(empty_database)
    engine, clock, ids = open_database(folder.database), SystemClock(), SystemIds()
    organization = add_organization(engine, "Acme", clock=clock)
    made = add_project(engine, organization, "Shop", ids=ids, clock=clock)
    site = Site(
        folder=folder,
        engine=engine,
        settings=Settings(web=WebSettings(parts_page=True)),
        clock=clock,
        machine_clock=clock,
        ids=ids,
        passwords=Passwords(ids, CHEAPEST),
        attempts=Attempts(clock),
        recent=RecentEvents(folder.log),
        static=StaticFiles(),
        read_status=StatusReader(folder, engine, clock).read,
        collect_url=lambda: "http://127.0.0.1:8585",
    )
    with listening(site) as url:
        yield Served(site, url, organization, made)
    site.recent.close()
    engine.dispose()


@contextmanager
def listening(site: Site) -> Iterator[str]:
    """Serve a site's pages on loopback; give where they are."""
    server_socket = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application(site), lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[server_socket])), daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server_socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        server_socket.close()
