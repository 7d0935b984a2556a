"""A site on a real data folder, and visitors that go through its pages without a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST
from starlette.testclient import TestClient

from tailrace.accounts.membership import Person
from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import NewPerson, add_person
from tailrace.accounts.projects import NewProject, add_organization, add_project
from tailrace.accounts.roles import Role
from tailrace.app.recent import RecentEvents
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.ops.status import StatusReader
from tailrace.settings import Settings, WebSettings
from tailrace.state.database import open_database
from tailrace.web.application import application
from tailrace.web.attempts import Attempts
from tailrace.web.site import Site
from tailrace.web.static_files import StaticFiles
from tests.web.reading import Read, read

PASSWORD = "correct horse battery"
ADDRESS = "http://127.0.0.1:8080"
COLLECT_URL = "http://127.0.0.1:8585"


class Visitor:
    """A browser without a window: cookies, forms that are sent as they were shown."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, status: int = 200, **headers: str) -> Read:
        """Open a page, which must answer with this status; redirects are not followed."""
        answer = self.client.get(path, headers=headers, follow_redirects=False)
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return read(answer)

    def post(
        self,
        path: str,
        fields: dict[str, str] | None = None,
        *,
        status: int = 303,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Read:
        """Send a form with the token of a page that was shown before."""
        if token is None:
            token = self.token()
        answer = self.client.post(
            path,
            data={"form_token": token, **(fields or {})},
            headers={"Sec-Fetch-Site": "same-origin", **(headers or {})},
            follow_redirects=False,
        )
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return read(answer)

    def token(self) -> str:
        """Return a token as any page's forms hold it."""
        shown = self.client.get("/nowhere", follow_redirects=False)
        return read(shown).field("form_token")

    def sign_in(self, email: str, password: str = PASSWORD) -> None:
        """Sign in, which must succeed."""
        self.post("/signin", {"email": email, "password": password})


class Place:
    """A site with one organization, Acme, which has the project Shop."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.engine = site.engine
        self.app = application(site)
        self.organization = add_organization(self.engine, "Acme", clock=site.clock)
        self.made = self.add_project(self.organization, "Shop")
        self.project = self.made.project_id

    @property
    def machine_clock(self) -> SteppedClock:
        clock = self.site.machine_clock
        assert isinstance(clock, SteppedClock)
        return clock

    def add_organization(self, name: str) -> int:
        return add_organization(self.engine, name, clock=self.site.clock)

    def add_project(self, organization: int, name: str) -> NewProject:
        return add_project(
            self.engine, organization, name, ids=self.site.ids, clock=self.site.clock
        )

    def add(
        self,
        email: str,
        role: Role = "admin",
        organization: int | None = None,
        password: str | None = PASSWORD,
    ) -> Person:
        new = NewPerson(email, role, None, password)
        return add_person(
            self.engine,
            organization or self.organization,
            new,
            passwords=self.site.passwords,
            clock=self.site.clock,
        )

    def visitor(
        self, email: str = "", *, address: str = ADDRESS, peer: str = "127.0.0.1"
    ) -> Visitor:
        """Return a visitor; with an e-mail address, one who is signed in."""
        client = TestClient(
            self.app, base_url=address, raise_server_exceptions=False, client=(peer, 50_000)
        )
        visitor = Visitor(client)
        if email:
            visitor.sign_in(email)
        return visitor


@pytest.fixture
def settings() -> Settings:
    return Settings(web=WebSettings(parts_page=True))


@pytest.fixture
def site(tmp_path: Path, empty_database: bytes, settings: Settings) -> Iterator[Site]:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    folder.database.write_bytes(empty_database)
    engine = open_database(folder.database)
    clock, ids = SteppedClock(1_800_000_000_000_000), SystemIds()
    made = Site(
        folder=folder,
        engine=engine,
        settings=settings,
        clock=clock,
        machine_clock=clock,
        ids=ids,
        passwords=Passwords(ids, CHEAPEST),
        attempts=Attempts(clock),
        recent=RecentEvents(folder.log),
        static=StaticFiles(),
        read_status=StatusReader(folder, engine, clock).read,
        collect_url=lambda: COLLECT_URL,
    )
    yield made
    made.recent.close()
    engine.dispose()


@pytest.fixture
def place(site: Site) -> Place:
    return Place(site)
