"""The pictures of the documentation: each is there, small, said in words, and shown somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BYTES_MAX = 60_000
WORDS_MIN = 6

_SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_there_small_and_said_in_words(page: Path) -> None:
    for words, path in _SHOWN.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / path).stat().st_size <= BYTES_MAX, path
        assert len(words.split()) >= WORDS_MIN, path


def test_every_picture_is_shown() -> None:
    shown = {
        (page.parent / path).resolve()
        for page in PAGES
        for _, path in _SHOWN.findall(page.read_text(encoding="utf-8"))
    }
    assert {path.resolve() for path in PICTURES.iterdir()} == shown
