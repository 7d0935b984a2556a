"""An answer as a person reads it: its words, links, forms and fields."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_UNSEEN = {"script", "style", "title"}


class Read(HTMLParser):
    """A parsed answer; raises at its making if an element is closed that was not open."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._words: list[str] = []
        self._open: list[str] = []
        if "html" in answer.headers.get("content-type", ""):
            self.feed(answer.text)
            self.close()
            assert not self._open, f"never closed: {self._open}"

    @property
    def status(self) -> int:
        return int(self.answer.status_code)

    @property
    def location(self) -> str:
        return str(self.answer.headers.get("location", ""))

    @property
    def text(self) -> str:
        """Return all words, with single blanks between them."""
        return " ".join(" ".join(self._words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Return the attributes of each such element; `class_` is written with an underscore."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def field(self, name: str) -> str:
        """Return the value of a form's input, the first of this name."""
        return self.all("input", name=name)[0].get("value", "")

    def links(self) -> list[str]:
        """Return where links lead, in their order."""
        return [one["href"] for one in self.all("a") if "href" in one]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"closed but not open: {tag}"
        assert self._open[-1] == tag, f"{tag} is closed within {self._open[-1]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in _UNSEEN:
            self._words.append(data)


def read(answer: Any) -> Read:
    """Return an answer as a person reads it."""
    return Read(answer)
