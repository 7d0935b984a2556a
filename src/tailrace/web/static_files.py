"""Static files: styles, scripts and icons, each under a name that holds its content's hash.

They are read once, when the process starts; a browser keeps them for a year, since another content
has another name.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
VENDOR = FOLDER / "vendor"

# What `make assets` fetches: without both, pages do not update by themselves.
LIBRARIES = ("htmx.js", "htmx-sse.js")

MISSING = (
    "Browser libraries are missing; pages will not update by themselves. Run `make assets`, which "
    "needs npm."
)

_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
_HASH_CHARACTERS = 12
_YEAR = "public, max-age=31536000, immutable"


class _File(msgspec.Struct, frozen=True):
    kind: str
    content: bytes
    compressed: bytes


def missing_libraries(folder: Path = VENDOR) -> bool:
    """Tell whether a browser can't be given what makes pages update by themselves."""
    return not all((folder / name).is_file() for name in LIBRARIES)


class StaticFiles:
    """The files of the package, by the names under which pages refer to them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._paths: dict[str, str] = {}
        self._files: dict[str, _File] = {}
        for path in sorted((*folder.iterdir(), *folder.glob("vendor/*"))):
            if path.suffix in _KINDS and path.is_file():
                self._add(path)
        self.libraries = tuple(
            self._paths[name] for name in (*LIBRARIES,) if not missing_libraries(folder / "vendor")
        )

    def path(self, name: str) -> str:
        """Return where a file is served; raise `KeyError` for a name that is none."""
        return self._paths[name]

    def answer(self, request: Request) -> Response | None:
        """Return a file that the request names, or None."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            return None
        headers = {"Cache-Control": _YEAR, "Vary": "Accept-Encoding"}
        content = found.content
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            content = found.compressed
        return Response(content, headers=headers, media_type=found.kind)

    def _add(self, path: Path) -> None:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARACTERS]
        served = f"{path.stem}.{digest}{path.suffix}"
        self._paths[path.name] = f"/static/{served}"
        self._files[served] = _File(_KINDS[path.suffix], content, gzip.compress(content, mtime=0))
