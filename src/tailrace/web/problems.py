"""`Problems`: what is wrong with a form: a sentence beside each field."""

from __future__ import annotations

from collections.abc import Callable

from tailrace.errors import BadRequest


class Problems:
    """Collects the sentences of `BadRequest`; empty means that the form can be taken."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}

    def check(self, field: str, rule: Callable[[], object]) -> None:
        """Apply a rule that raises `BadRequest`, and keep its sentence for the field."""
        try:
            rule()
        except BadRequest as error:
            self.add(field, error)

    def add(self, field: str, error: BadRequest) -> None:
        """Keep the first sentence of a field."""
        self._sentences.setdefault(field, str(error))

    def of(self, field: str) -> str:
        """Return what is wrong with a field, or an empty text."""
        return self._sentences.get(field, "")

    def __contains__(self, field: str) -> bool:
        return field in self._sentences

    def __len__(self) -> int:
        return len(self._sentences)

    def without(self, *fields: str) -> Problems:
        """Return the same but for some fields."""
        left = Problems()
        left._sentences = {
            field: sentence for field, sentence in self._sentences.items() if field not in fields
        }
        return left
