"""The frame of all pages: headers, static files, errors in words, themes, templates."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.responses import Response

from tailrace.errors import Transient
from tailrace.settings import Settings
from tailrace.web import application as application_module
from tailrace.web.application import pages
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import TEMPLATES
from tailrace.web.static_files import FOLDER, StaticFiles, missing_libraries
from tests.web.conftest import ADDRESS, Place
from tests.web.reading import Read

SOURCES = sorted(TEMPLATES.rglob("*.html"))
CSS_BYTES_MAX = 6 * 1024
SCRIPT_BYTES_MAX = 20 * 1024


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_a_template_escapes_everything_and_holds_no_style_script_or_arithmetic(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)
    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:|hx-on", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"strftime|\|\s*round|\|\s*sum", text)
    assert len(text.splitlines()) <= 150


@pytest.mark.parametrize("path", ["/signin", "/nowhere", "/healthz", "/dev/parts"])
def test_every_answer_forbids_what_a_page_does_not_need(place: Place, path: str) -> None:
    headers = place.visitor().client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_static_files_have_their_content_in_their_name_and_are_kept_for_a_year(
    place: Place,
) -> None:
    visitor = place.visitor()
    page = visitor.get("/signin")
    (style,) = [one["href"] for one in page.all("link", rel="stylesheet")]
    assert re.fullmatch(r"/static/tailrace\.[0-9a-f]{12}\.css", style)
    answer = visitor.client.get(style)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == (FOLDER / "tailrace.css").read_bytes()
    plain = visitor.client.get(style, headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content
    for name in ("tailrace.css", "tailrace.000000000000.css", "../site.py", "%2e%2e/site.py"):
        assert visitor.client.get(f"/static/{name}").status_code == 404


def test_what_a_browser_fetches_stays_within_its_budget() -> None:
    css = gzip.compress((FOLDER / "tailrace.css").read_bytes())
    assert len(css) <= CSS_BYTES_MAX
    scripts = [FOLDER / "tailrace.js", *FOLDER.glob("vendor/*.js")]
    assert sum(len(gzip.compress(one.read_bytes())) for one in scripts) <= SCRIPT_BYTES_MAX


def test_without_the_libraries_pages_work_and_say_that_they_do_not_update(
    place: Place, tmp_path: Path
) -> None:
    for path in FOLDER.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    static = StaticFiles(tmp_path)
    assert missing_libraries(tmp_path / "vendor")
    bare = Place(msgspec.structs.replace(place.site, static=static)).visitor().get("/signin")
    assert "Pages do not update by themselves" in bare.text
    assert [one["src"] for one in bare.all("script")] == [static.path("tailrace.js")]


def test_nothing_at_an_address_is_said_in_words(place: Place) -> None:
    page = place.visitor().get("/nowhere", 404)
    assert "There is no such page" in page.text
    assert "/" in page.links()
    assert "takes no such request" in place.visitor().post("/dev/parts", status=405).text


class _Raises:
    """A page behind which something goes wrong."""

    def __init__(self, error: Exception) -> None:
        self.PAGES = (Page("/wrong", self._show, "anybody"),)
        self._error = error

    def _show(self, visit: Visit) -> Response:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OperationalError("SELECT", {}, Exception("locked")), 503, "did not answer in time"),
        (NoFreeConnection("none is free"), 503, "did not answer in time"),
        (Transient("Cannot do this now. Try again."), 503, "Cannot do this now. Try again."),
        (RuntimeError("secret detail"), 500, "which is a defect of tailrace"),
    ],
)
def test_what_goes_wrong_is_said_in_words_without_its_details(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, words: str
) -> None:
    areas = (*application_module.AREAS, _Raises(error))
    monkeypatch.setattr(application_module, "AREAS", areas)
    page = Place(place.site).visitor().get("/wrong", status)
    assert words in page.text
    assert "secret detail" not in page.text
    assert page.answer.headers["content-security-policy"]
    if status == 503:
        assert page.answer.headers["retry-after"] == "5"


def test_the_theme_is_kept_by_the_browser(place: Place) -> None:
    visitor = place.visitor()
    assert visitor.get("/signin").all("html")[0]["data-theme"] == "system"
    assert visitor.post("/theme", {"theme": "dark", "back": "/signin"}).location == "/signin"
    assert visitor.get("/signin").all("html")[0]["data-theme"] == "dark"
    for elsewhere in ("//evil.example", "https://evil.example/", "http://[", "/\\evil.example"):
        assert visitor.post("/theme", {"theme": "dark", "back": elsewhere}).location == "/"
    visitor.post("/theme", {"theme": "pink"}, status=400)


def test_another_theme_leads_back_to_a_page(place: Place) -> None:
    def back(read: Read) -> str:
        return read.field("back")

    visitor = place.visitor()
    assert back(visitor.get("/signin")) == "/signin"
    assert back(visitor.get("/signin?to=%2Fevents")) == "/signin?to=%2Fevents"
    # A form's own address may have no page.
    for referer, expected in (
        (f"{ADDRESS}/signin?to=%2Fevents", "/signin?to=%2Fevents"),
        (f"{ADDRESS}//evil.example/", "/"),
        ("https://evil.example/signin", "/"),
        ("http://[", "/"),
        ("", "/"),
    ):
        answered = visitor.post(
            "/signin",
            {"email": "dana@acme.example", "password": "wrong"},
            status=422,
            headers={"Referer": referer} if referer else {},
        )
        assert back(answered) == expected


def test_the_parts_page_is_there_only_where_it_is_asked_for(place: Place) -> None:
    assert any(page.path == "/dev/parts" for page in pages(place.site))
    usual = msgspec.structs.replace(place.site, settings=Settings())
    assert not any(page.path == "/dev/parts" for page in pages(usual))


def test_the_operators_endpoints_need_no_sign_in(place: Place) -> None:
    client = place.visitor().client
    assert json.loads(client.get("/healthz").text)["status"] == "ok"
    assert client.get("/readyz").status_code == 503
    assert "tailrace" in client.get("/metrics").text


def test_two_answers_never_hold_the_same_form_token(place: Place) -> None:
    visitor = place.visitor()
    assert visitor.token() != visitor.token()


def test_every_part_is_shown_in_the_parts_page(place: Place) -> None:
    shown = place.visitor().get("/dev/parts")
    source = (TEMPLATES / "pages" / "parts.html").read_text(encoding="utf-8")
    inside = {"icon", "mark"}
    for path in (TEMPLATES / "parts").glob("*.html"):
        assert path.stem in inside or f"{path.stem}(" in source, path.stem
        assert len(path.read_text(encoding="utf-8").splitlines()) < 40, path.stem
    assert "4 hours could not be exported" in shown.text
