"""`run_library`: a process on Node.js with the old JavaScript library, which npm installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

APPLICATION = Path(__file__).parent / "application.cjs"
PACKAGE = "amplitude-js@8.21.10"
INTEGRITY = (
    "sha512-FUAnk+eFb9mOLOkwE3Dh1sVOeamuSLXs7AvfI3i81urq"
    "3T8L+aYiZE2jxS+e3+6v5Qcl6x5oBAsctSSNzfzLqg=="
)
END_SECONDS = 60.0
NPM_SECONDS = 100.0

Told = list[tuple[int, str]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library's bundle for browsers."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        _missing("there is no node with npm on this machine")
    folder = tmp_path_factory.mktemp("amplitude-js")
    packed = subprocess.run(
        [npm, "pack", "--json", PACKAGE],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=NPM_SECONDS,
    )
    if packed.returncode != 0:
        _missing(f"npm can't get {PACKAGE}")
    (found,) = json.loads(packed.stdout)
    # npm has compared the file with this sum.
    assert found["integrity"] == INTEGRITY
    library = folder / "amplitude.umd.js"
    with tarfile.open(folder / found["filename"]) as archive:
        member = archive.extractfile("package/amplitude.umd.js")
        assert member is not None
        library.write_bytes(member.read())
    return library


@pytest.fixture
def run_library(library: Path) -> Callable[..., Told]:
    """Return a function that lets the library send events, and returns what it tells of each.

    `how` is empty, or "careless" for three calls with odd arguments, of which two tell.
    """

    def run(installation: Any, *, events: int, api_key: str = "", how: str = "") -> Told:
        host, port = installation.address
        words = ["node", str(APPLICATION), str(library), f"{host}:{port}"]
        done = subprocess.run(
            [*words, api_key or installation.api_key, str(events), how],
            capture_output=True,
            text=True,
            check=False,
            timeout=END_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return [(status, body) for status, body in json.loads(done.stdout)]

    return run


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
