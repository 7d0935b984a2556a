"""Run the code blocks of the documentation, page by page, as a reader would.

A page's blocks run in order in one empty folder. A comment before a block changes how:

    <!-- test: service -->         first make a data folder and start the service
    <!-- test: background -->      this block starts the service; go on once it is ready
    <!-- test: after the hour -->  first wait until the clock's hour is over and sealed
    <!-- test: fails 3 -->         this block ends with exit code 3
    <!-- test: output -->          this JSON has the keys that the block before printed

Blocks of `bash` and `python` are run, `json` and `toml` must be valid, `text` is left alone.
Slow: pages cross the end of an hour, which takes as long as the service's clock does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.demo import seaweed, surroundings
from tailrace.demo.seaweed import Seaweed
from tailrace.settings import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mark>[^\n]*?) -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)
_CLOCK_START = "2026-01-02T13:59:20"
_TURN_SECONDS = 0.1
_READY_TURNS_MAX = 400
_SEALED_TURNS_MAX = 900

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Block(msgspec.Struct, frozen=True):
    page: str
    line: int
    mark: str
    kind: str
    code: str


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page.name,
            line=text.count("\n", 0, found.start("kind")) + 1,
            mark=found["mark"] or "",
            kind=found["kind"],
            code=found["code"],
        )
        for found in _BLOCK.finditer(text)
    ]


class Page:
    """A reader's folder and shell."""

    def __init__(self, folder: Path, server: Seaweed, bucket: str) -> None:
        self._folder = folder
        self._service: subprocess.Popen[bytes] | None = None
        self._printed = ""
        self._words = {
            "https://s3.example.com": server.endpoint_url,
            "acme-events": bucket,
            "AKIDEXAMPLE": server.exporter.access_key_id,
            "the-secret-access-key": server.exporter.secret_access_key,
        }
        scripts = sysconfig.get_path("scripts")
        self._environment = surroundings.clean(os.environ) | {
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
        }

    def run(self, block: Block) -> None:
        place = f"{block.page}:{block.line}"
        if block.mark == "service":
            self._make_service()
        elif block.mark == "after the hour":
            self._wait_for_the_hour()
        if block.mark == "background":
            self._start(block.code)
        elif block.kind == "bash":
            self._shell(block, place)
        elif block.kind == "python":
            self._python(block, place)
        elif block.kind == "json":
            value = json.loads(block.code)
            if block.mark == "output":
                assert _shape(json.loads(self._printed)) == _shape(value), (
                    f"{place} shows other keys"
                )
        elif block.kind == "toml":
            tomllib.loads(block.code)
            (self._folder / "tailrace.toml").write_text(block.code)
            load(self._folder, {})

    def end(self) -> None:
        if self._service is not None:
            self._service.send_signal(signal.SIGTERM)
            try:
                assert self._service.wait(20) == 0, self._said()
            finally:
                if self._service.poll() is None:
                    os.killpg(self._service.pid, signal.SIGKILL)
                    self._service.wait()

    def _shell(self, block: Block, place: str) -> None:
        mark, _, code = block.mark.partition(" ")
        expected = int(code) if mark == "fails" else 0
        exports = shlex.quote(str(self._folder / ".exports"))
        script = (
            f"set -eu; test ! -e {exports} || source {exports}\n"
            f"{self._fill(block.code)}\nexport -p > {exports}\n"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == expected, (
            f"{place} ended with {done.returncode}\n{done.stdout}{done.stderr}{self._said()}"
        )
        self._printed = done.stdout

    def _python(self, block: Block, place: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", self._fill(block.code)],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{place}\n{done.stdout}{done.stderr}{self._said()}"

    def _make_service(self) -> None:
        made = subprocess.run(
            ["tailrace", "init", "--json"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            check=True,
        )
        keys = json.loads(made.stdout)
        self._environment["API_KEY"] = keys["api_key"]
        self._environment["SECRET_KEY"] = keys["secret_key"]
        self._environment["PROJECT"] = str(keys["project_id"])
        self._start("tailrace serve")

    def _start(self, command: str) -> None:
        words = [*shlex.split(command), "--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"]
        with (self._folder / ".said").open("wb") as said:
            self._service = subprocess.Popen(
                [*words, "--clock-start", _CLOCK_START],
                cwd=self._folder,
                env=self._environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self._wait(lambda: "tailrace is ready" in self._said(), _READY_TURNS_MAX)
        said_text = self._said()
        for default, name in (("127.0.0.1:8585", "events"), ("127.0.0.1:8080", "health")):
            found = re.search(rf"{name}: +http://(127\.0\.0\.1:\d+)", said_text)
            assert found is not None, said_text
            self._words[default] = found[1]

    def _wait_for_the_hour(self) -> None:
        def sealed() -> bool:
            asked = subprocess.run(
                ["tailrace", "status", "--json"],
                cwd=self._folder,
                env=self._environment,
                capture_output=True,
                check=True,
            )
            return json.loads(asked.stdout)["newest_sealed_hour"] is not None

        self._wait(sealed, _SEALED_TURNS_MAX)

    def _wait(self, reached: Any, turns_max: int) -> None:
        assert self._service is not None
        for _ in range(turns_max):
            if reached():
                return
            try:
                self._service.wait(_TURN_SECONDS)
                break
            except subprocess.TimeoutExpired:
                pass
        pytest.fail(f"the service did not get so far; it said:\n{self._said()}")

    def _said(self) -> str:
        said = self._folder / ".said"
        return said.read_text(errors="replace") if said.exists() else ""

    def _fill(self, code: str) -> str:
        for word, real in self._words.items():
            code = code.replace(word, real)
        return code


def _shape(value: object) -> object:
    """What of a JSON value must be as shown: its keys and the kinds of its values."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


@pytest.fixture
def page(tmp_path: Path, server: Seaweed) -> Iterator[Page]:
    for tool in ("bash", "curl"):
        if shutil.which(tool) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{tool} is missing")
            pytest.skip(f"{tool} is missing; the documentation uses it")
    bucket = f"acme-{os.urandom(6).hex()}"
    server.create_bucket(bucket)
    server.put_policy(bucket, seaweed.export_policy("amplitude/"))
    made = Page(tmp_path, server, bucket)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if any(block.kind != "text" for block in _blocks(path))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_blocks_of_the_page_run(path: Path, page: Page) -> None:
    for block in _blocks(path):
        page.run(block)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_has_a_kind_and_every_link_a_target(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0
    kinds = {block.kind for block in _blocks(path)}
    assert kinds <= {"bash", "python", "json", "toml", "text"}
    assert len(_blocks(path)) * 2 == text.count("\n```")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


def test_the_settings_page_has_every_setting_and_its_default(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    documented: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`.*?`) \| (.*?) ?\|", text, re.M):
        for name, value in zip(names.split(", "), default.split(", ") or [""], strict=True):
            documented[name.strip("`")] = value

    known = {}
    for setting in load(tmp_path, {}).listing:
        value = setting.value
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        known[setting.key] = "" if value in ("", ()) else shown
    assert documented == known
