"""Copy the browser's libraries from npm into the package, when it is built and by `make assets`.

They are in no commit: `web/package-lock.json` pins them by hash. A second run finds them there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
VENDOR = Path("src") / "tailrace" / "web" / "static" / "vendor"
ASKED = ("package.json", "package-lock.json")

# Of each package, what a browser is given, and under which name.
TAKEN = {
    "htmx.org": {"dist/htmx.min.js": "htmx.js", "dist/ext/hx-sse.min.js": "htmx-sse.js"},
}

# Two packages of under 2 MB; a registry that takes longer is out of reach.
NPM_SECONDS = 120

MISSING = "The browser's libraries are missing, since {why}. Install npm, then run `make assets`."


class NotFetched(Exception):
    """npm is not there, or could not fetch what the lock file names."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Let no wheel be made without the libraries; an editable install does without them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is missing before files are gathered."""
        try:
            fetch(Path(self.root))
        except NotFetched as error:
            if version != "editable":
                raise SystemExit(str(error)) from error
            self.app.display_warning(str(error))


def fetch(root: Path) -> Path:
    """Return the folder with the libraries that the lock file names; fetch them if need be."""
    folder = root / VENDOR
    stamp = folder / "package-lock.json"
    lock = root / "web" / "package-lock.json"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched(MISSING.format(why="npm is not installed"))
    with tempfile.TemporaryDirectory(prefix="tailrace-npm-") as temporary:
        for name in ASKED:
            shutil.copyfile(root / "web" / name, Path(temporary, name))
        words = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
        try:
            subprocess.run(
                [npm, *words, "--loglevel=error"],
                cwd=temporary,
                check=True,
                stdin=subprocess.DEVNULL,
                # npm sets up its terminal; in the background it would be stopped for that.
                start_new_session=True,
                capture_output=True,
                text=True,
                timeout=NPM_SECONDS,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            why = f"npm could not fetch them ({said[0] if said else 'it said nothing'})"
            raise NotFetched(MISSING.format(why=why)) from error
        _replace(folder, Path(temporary, "node_modules"))
    # The stamp comes last: a folder without it is filled again.
    shutil.copyfile(lock, stamp)
    return folder


def _replace(folder: Path, modules: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notices = []
    for package, files in TAKEN.items():
        for source, name in files.items():
            shutil.copyfile(modules / package / source, folder / name)
        told = json.loads((modules / package / "package.json").read_text(encoding="utf-8"))
        licence = (modules / package / "LICENSE").read_text(encoding="utf-8").strip()
        names = ", ".join(files.values())
        notices.append(f"{names}: {package} {told['version']}, {told['license']}\n\n{licence}\n")
    (folder / "NOTICE").write_text("\n".join(notices), encoding="utf-8")


def main() -> int:
    """Fetch what is missing; say in one sentence why not, and return 1."""
    try:
        fetch(ROOT)
    except NotFetched as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
