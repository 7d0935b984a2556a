"""What contract tests need beside Python; a machine without it skips them, CI fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

SDKS = Path(__file__).parent / "sdks"
# Debian's name comes first, then those of other systems.
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def node() -> str:
    """Return the program `node`; the SDKs of `package.json` are installed beside it."""
    found = shutil.which("node")
    if found is None:
        missing("there is no node on this machine")
    if not (SDKS / "node_modules" / ".tailrace-stamp").exists():
        missing("the SDKs are not installed; `make sdks` does it where npm is")
    return found


def chromium() -> str:
    """Return Chromium's program."""
    found = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if found is None:
        missing("there is no Chromium on this machine")
    return found


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
