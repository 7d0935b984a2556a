"""What holds for the repository as a whole."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = (ROOT / "requirements" / "all.txt").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = [one for one in sorted((ROOT / "tests").rglob("*.py")) if "node_modules" not in one.parts]

LINES_MAX = 400


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _pinned() -> dict[str, str]:
    entries = REQUIREMENTS.replace("\\\n", " ").splitlines()
    return {_name(entry): entry for entry in entries if entry and not entry.startswith("#")}


def test_every_requirement_is_pinned_with_hashes() -> None:
    for entry in _pinned().values():
        assert re.match(r"[A-Za-z0-9._-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_requirements_name_no_registry() -> None:
    assert "://" not in REQUIREMENTS
    assert not re.search(r"^\s*-", REQUIREMENTS.replace("\\\n", " "), re.MULTILINE)


def test_requirements_hold_everything_the_project_and_its_build_need() -> None:
    project = PYPROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["demo"],
        *PYPROJECT["build-system"]["requires"],
    ]

    assert {_name(one) for one in wanted} <= _pinned().keys()


@pytest.mark.parametrize("folder", ["tests/contract/sdks", "web"])
def test_what_comes_from_npm_is_exact_hashed_and_names_no_registry(folder: str) -> None:
    package = json.loads((ROOT / folder / "package.json").read_text(encoding="utf-8"))
    lock = (ROOT / folder / "package-lock.json").read_text(encoding="utf-8")
    locked = json.loads(lock)["packages"]
    kinds = ("dependencies", "devDependencies")
    asked = {name: version for kind in kinds for name, version in package.get(kind, {}).items()}

    assert [locked[""].get(kind) for kind in kinds] == [package.get(kind) for kind in kinds]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in asked} == asked
    for path, package in locked.items():
        assert package.get("integrity", "").startswith("sha512-") == (path != "")
    assert not re.search(r"://|\"resolved\"", json.dumps(locked))


def test_what_is_asked_for_is_what_was_compiled() -> None:
    lines = (ROOT / "requirements" / "all.in").read_text(encoding="utf-8").splitlines()
    asked = {_name(line) for line in lines if line and not line.startswith("#")}

    assert asked <= _pinned().keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_decoders_are_made_when_a_module_is_imported(path: Path) -> None:
    # msgspec learns a type at its first use; two threads that both are the first crash the process.
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(?:json|msgpack)\.decode\([^\n]*\btype=", text)
    assert not re.search(
        r"^[ ]+.*(?:json|msgpack)\.Decoder\(\w*[A-Z]\w*\)\.decode\(", text, re.MULTILINE
    )


def test_tests_share_one_s3_server() -> None:
    # A fixture that is imported is another one: it would start a server for whoever imports it.
    another = re.compile(r"\bseaweed\.start\(|^from .* import server\b", re.MULTILINE)
    found = {one for one in TESTS if another.search(one.read_text(encoding="utf-8"))}

    # The second one tries how a server starts and ends.
    assert found == {ROOT / "tests/conftest.py", ROOT / "tests/demo/test_seaweed.py"}


def test_contributing_shows_the_layers_that_are_checked() -> None:
    (layers,) = [
        contract["layers"]
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    checked = [
        {name.strip().removeprefix("tailrace.") for name in layer.split("|")} - {"__main__"}
        for layer in layers
    ]

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown: dict[int, set[str]] = {}
    for number, names in re.findall(r"^\| (\d+) \| (.+?) \|", text, re.MULTILINE):
        shown.setdefault(int(number), set()).update(re.findall(r"`(\w+)`", names))
    assert [shown[number] for number in sorted(shown)] == [names for names in checked if names]


def test_every_package_is_in_a_layer() -> None:
    (layers,) = [
        contract["layers"]
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    layered = set(re.findall(r"tailrace\.(\w+)", " ".join(layers)))
    top = {path.stem for path in (ROOT / "src" / "tailrace").iterdir() if path.name != "py.typed"}

    assert top - {"__init__", "__pycache__"} <= layered


def test_make_alone_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert set(re.findall(r"^  make (\w+) ", listed, re.MULTILINE)) == set(phony.split()) - {
        "environment"
    }


def test_ci_runs_the_checks_and_the_tests() -> None:
    script = ROOT / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    text = script.read_text(encoding="utf-8")
    assert "make check || failed=1" in text
    assert "make test || failed=1" in text
    assert text.rstrip().endswith('exit "$failed"')
