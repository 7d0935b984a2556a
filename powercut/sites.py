"""Every place of the product that asks for a sync, found in its code, and how to leave one out.

A site is the call in the product's own words, with its caller where the call stands in a shared
function: `files.py put_whole sync_folder < log/partitions.py _store`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import msgspec

import tailrace

PRODUCT = Path(tailrace.__file__).parent
# What the system is asked through; inside these functions a sync is done, not asked for.
MECHANISM = frozenset({"sync_data", "sync_descriptor", "sync_folder", "_sync_all", "_sync_data"})
_SYSTEM = frozenset({"fsync", "fdatasync", "F_FULLFSYNC"})
# Functions that sync for whoever calls them: what they are needed for differs by caller.
SHARED = frozenset({"put_whole", "make_folder", "begin_folder"})
# The first asks the second for its syncs, and has none of its own.
_FORWARDS = {"begin_folder": "make_folder"}
_FILES = "files.py"


class Place(msgspec.Struct, frozen=True, order=True):
    """A call in the code: the n-th of its name in its function, counted from 1."""

    module: str
    function: str
    name: str
    number: int

    def __str__(self) -> str:
        number = "" if self.number == 1 else f" #{self.number}"
        return f"{self.module} {self.function} {self.name}{number}"


class _Calls(ast.NodeVisitor):
    """Collects the places of one module where one of some names is used as a method."""

    def __init__(self, module: str, names: frozenset[str]) -> None:
        self._module = module
        self._names = names
        self._functions: list[str] = []
        self.found: dict[tuple[str, str], list[int]] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self._note(node.attr, node.lineno)

    def visit_Name(self, node: ast.Name) -> None:
        self._note(node.id, node.lineno)

    def _note(self, name: str, line: int) -> None:
        function = self._functions[-1] if self._functions else "<module>"
        if name in self._names and function not in MECHANISM:
            self.found.setdefault((function, name), []).append(line)


def _places(names: frozenset[str]) -> Iterator[tuple[Place, int]]:
    """Yield the uses of some names in the product, with their lines."""
    for path in sorted(PRODUCT.rglob("*.py")):
        module = path.relative_to(PRODUCT).as_posix()
        calls = _Calls(module, names)
        calls.visit(ast.parse(path.read_text()))
        for (function, name), lines in calls.found.items():
            for number, line in enumerate(sorted(lines), start=1):
                yield Place(module, function, name, number), line


def sync_sites() -> list[str]:
    """Return every site at which the product asks for a sync, in order."""
    direct = [place for place, _ in _places(MECHANISM | _SYSTEM)]
    shared = [place for place in direct if place.module == _FILES]
    callers = [place for place, _ in _places(SHARED) if place.module != _FILES]
    sites = [str(place) for place in direct if place.module != _FILES]
    for place in shared:
        if place.function not in SHARED:
            raise ValueError(f"{place} syncs for its callers; name its function in SHARED")
        asking = {place.function, *(one for one, to in _FORWARDS.items() if to == place.function)}
        sites += [f"{place} < {caller}" for caller in callers if caller.name in asking]
    return sorted(sites)


def pragma_sites() -> list[str]:
    """Return every place that sets how SQLite syncs."""
    found = []
    for path in sorted(PRODUCT.rglob("*.py")):
        module = path.relative_to(PRODUCT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.removeprefix("PRAGMA ").lower()
                if text.startswith(("synchronous", "journal_mode", "mmap_size", "fullfsync")):
                    found.append(f"{module} {text}")
    return sorted(found)


class Finder:
    """Says at run time which site a sync was asked from."""

    def __init__(self) -> None:
        self._lines = {
            (place.module, place.function, line): place
            for place, line in _places(MECHANISM | _SYSTEM | SHARED)
        }

    def site(self) -> str:
        """Return the site of the sync under way in this thread."""
        frame: FrameType | None = sys._getframe(1)
        leaf = ""
        asked: Place | None = None
        while frame is not None:
            module = self._module(frame)
            function = frame.f_code.co_name
            if module == _FILES and function in MECHANISM:
                leaf = function
            elif module is not None:
                place = self._lines.get((module, function, frame.f_lineno))
                if place is not None and place.module != _FILES:
                    return str(place) if asked is None else f"{asked} < {place}"
                asked = asked or place
            frame = frame.f_back
        # Syncs that wait together run in threads of their own, with nothing of the asker below.
        return f"archive/batch.py finish {leaf}"

    def _module(self, frame: FrameType) -> str | None:
        path = Path(frame.f_code.co_filename)
        return path.relative_to(PRODUCT).as_posix() if path.is_relative_to(PRODUCT) else None
