"""`Browser`: Chromium with web pages of another origin that use the official Browser SDK."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.packages import SDKS, chromium, node

WAIT_SECONDS = 60.0
# What the SDK sends of its own accord, as it is set up by default.
BY_ITSELF = ("$identify", "session_start", "[Amplitude] Page Viewed")
_SERVED = {
    "/page.html": ("text/html; charset=utf-8", SDKS / "page.html"),
    "/amplitude.js": (
        "text/javascript",
        SDKS / "node_modules/@amplitude/analytics-browser/lib/scripts/amplitude-min.js",
    ),
}


class Visit(msgspec.Struct, frozen=True):
    """What the SDK sent during a visit, its own events too, and the status told of each step."""

    sent: list[tuple[str, str]]
    codes: dict[str, int]
    errors: list[str]

    @property
    def exported(self) -> set[str]:
        """The insert ids of what should become a line."""
        kinds = ("$identify", "$groupidentify")
        return {insert_id for insert_id, kind in self.sent if kind not in kinds}


class BrowserHung(AssertionError):
    """A visit without an end; another browser has been started.

    On a busy machine a page in a hundred or fewer hangs in Chromium.
    """


class Browser:
    """Chromium, and the visits that are made with it, one after the other."""

    def __init__(self, program: str, page: str) -> None:
        self._command = [node(), "browser.cjs", program, page]
        self._start()

    def _start(self) -> None:
        self._late = False
        self._process = subprocess.Popen(
            self._command, cwd=SDKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._hear()["version"]

    def visit(
        self,
        url: str,
        api_key: str,
        steps: Sequence[tuple[Any, ...]],
        *,
        end: str = "wait",
        options: Mapping[str, Any] | None = None,
        waits: Mapping[int, int] | None = None,
        user: str | None = "shopper-17",
    ) -> Visit:
        """Play the steps in a new page, with no cookies from the page before.

        `end` is "wait" for the SDK's own flush, "flush", "leave" for a page that is left for
        another, or "close", the latter two with a beacon. `waits` makes waits shorter
        (milliseconds).
        """
        story = {
            "url": url,
            "apiKey": api_key,
            "steps": steps,
            "end": end,
            "byItself": len(BY_ITSELF),
            "options": options or {},
            "waits": {str(wait): shorter for wait, shorter in (waits or {}).items()},
            "user": user,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(story) + "\n")
        self._process.stdin.flush()
        return msgspec.convert(self._hear(), Visit)

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Timer(WAIT_SECONDS, self._give_up)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()
        if self._late:
            self.close()
            self._start()
            raise BrowserHung(f"Chromium's page found no end within {WAIT_SECONDS:.0f} s")
        assert line, "the browser ended by itself"
        heard: dict[str, Any] = json.loads(line)
        assert "failure" not in heard, heard
        return heard

    def _give_up(self) -> None:
        # This ends Chromium, and so the reading.
        self._late = True
        self._process.terminate()

    def close(self) -> None:
        """Let Chromium end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, path = _SERVED[self.path.partition("?")[0]]
        content = Path(path).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        running = Browser(program, f"http://127.0.0.1:{server.server_address[1]}/page.html")
        try:
            yield running
        finally:
            running.close()
    finally:
        server.shutdown()
        thread.join(WAIT_SECONDS)
        server.server_close()


@pytest.fixture
def tracked() -> Callable[..., list[tuple[Any, ...]]]:
    """Make steps that track numbered events; their properties and fields may be given."""

    def make(numbers: Sequence[int], properties: Any = None, **fields: Any) -> list[Any]:
        return [
            ("track", n, "Page Scrolled", {"n": n, **(properties or {})}, fields) for n in numbers
        ]

    return make
