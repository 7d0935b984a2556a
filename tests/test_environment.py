"""`scripts/environment`, which builds `.venv`, in a tiny project that needs no registry.

Slow: real virtual environments are made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
"""

_BACKEND = """
import zipfile
FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}
def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        for name, content in FILES.items():
            wheel.writestr(f"tiny-1.dist-info/{name}", content)
    return "tiny-1-py3-none-any.whl"
"""

_BASE_PYTHON = os.path.realpath(sys.executable)
_SENTENCE = "Building .venv with"

pytestmark = pytest.mark.slow


class Project:
    """A copy of the script in a folder of its own, and commands that stand before the real ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.commands = folder / "commands"
        self.commands.mkdir()
        (self.folder / "requirements").mkdir(parents=True)
        (self.folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "environment", self.folder / "scripts")
        (self.folder / "requirements" / "all.txt").write_text("# nothing\n")
        (self.folder / "pyproject.toml").write_text(_PYPROJECT)
        (self.folder / "backend.py").write_text(_BACKEND)
        for version in ("3.14", "3.13", "3.12", "3.11", "3"):
            self.command(f"python{version}", "exit 127")

    def command(self, name: str, script: str) -> None:
        path = self.commands / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def build(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "scripts/environment"],
            cwd=self.folder,
            env={
                "PATH": f"{self.commands}:/usr/bin:/bin",
                "HOME": str(self.folder),
                "PIP_NO_INDEX": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=110,
        )

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_newest_python_that_really_runs_is_taken_and_used_again(project: Project) -> None:
    project.command("python3.12", f'exec "{_BASE_PYTHON}" "$@"')
    project.command("python3.11", "echo taken >&2; exit 1")

    first = project.build()
    second = project.build()

    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(_SENTENCE)
    assert (second.returncode, second.stdout) == (0, "")
    installed = [str(project.venv / "bin" / "python"), "-c", "import tiny"]
    assert subprocess.run(installed, check=False).returncode == 0


def test_an_environment_without_its_stamp_is_not_believed(project: Project) -> None:
    project.command("python3.11", f'exec "{_BASE_PYTHON}" "$@"')
    (project.venv / "bin").mkdir(parents=True)
    (project.venv / "bin" / "python").symlink_to(_BASE_PYTHON)

    built = project.build()

    assert built.stdout.startswith(_SENTENCE)
    assert (project.venv / "tailrace-stamp").exists()


def test_changed_requirements_build_it_anew_and_a_failure_leaves_nothing_to_believe_in(
    project: Project,
) -> None:
    project.command("python3.11", f'exec "{_BASE_PYTHON}" "$@"')
    assert project.build().returncode == 0
    requirements = project.folder / "requirements" / "all.txt"
    requirements.write_text(f"nosuchthing==1 --hash=sha256:{'0' * 64}\n")

    failed = project.build()

    assert failed.returncode == 1
    assert failed.stdout.startswith(_SENTENCE)
    assert "nosuchthing" in failed.stderr
    assert "run make again" in failed.stderr
    assert not project.venv.exists()


def test_without_any_python_one_sentence_says_what_is_needed(project: Project) -> None:
    failed = project.build()

    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "needs Python 3.11 to 3.14" in failed.stderr


def test_a_python_that_is_too_old_or_too_new_is_not_taken(project: Project) -> None:
    project.command("python3", 'case "$2" in *version_info*) exit 1;; esac')

    assert "needs Python 3.11 to 3.14" in project.build().stderr


def _without_venv(project: Project) -> None:
    there = project.folder / "venv-is-there"
    project.command(
        "python3.11",
        f'case "$2" in *ensurepip*) test -e "{there}" || exit 1;; esac\nexec "{_BASE_PYTHON}" "$@"',
    )
    project.command("apt-get", f'echo "$@" >> "{project.folder}/apt"; touch "{there}"')


def test_without_venv_a_user_is_told_the_one_command(project: Project) -> None:
    _without_venv(project)
    project.command("id", "echo 1000")

    failed = project.build()

    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "sudo apt-get install -y python3-venv python3." in failed.stderr
    assert not project.venv.exists()


def test_without_venv_root_gets_it_installed(project: Project) -> None:
    _without_venv(project)
    project.command("id", "echo 0")

    built = project.build()

    assert built.returncode == 0, built.stderr
    update, install = (project.folder / "apt").read_text().splitlines()
    assert update == "-qq update"
    assert install.startswith("-qq install -y python3-venv python3.")
