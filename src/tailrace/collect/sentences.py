"""The faults of a request whose answer is plain text: sentences instead of lists of indexes."""

from __future__ import annotations

from typing import Any

from tailrace.collect import answers
from tailrace.collect.answers import Answer, Refused
from tailrace.collect.parsing import Repeated, parse
from tailrace.collect.rules import (
    FLAG_FIELDS,
    ID_FIELDS,
    LONG_FIELDS,
    NUMBER_FIELDS,
    OBJECT_FIELDS,
    TEXT_FIELDS,
    TEXT_OBJECT_FIELDS,
    Faults,
)

# An answer is read by people: the first faults are enough to find the cause.
SENTENCES_MAX = 10

_RULES = {
    **dict.fromkeys(TEXT_FIELDS, "must be text"),
    **dict.fromkeys(LONG_FIELDS, "must be a whole number"),
    **dict.fromkeys(NUMBER_FIELDS, "must be a number"),
    **dict.fromkeys(OBJECT_FIELDS, "must be an object"),
    **dict.fromkeys(FLAG_FIELDS, "must be true or false"),
    **dict.fromkeys(TEXT_OBJECT_FIELDS, "must be an object of texts"),
    "time": "must be a whole number of milliseconds since 1970",
    "groups": "must be an object of texts and lists of texts",
    "paying": "must be text",
}
_NAMES_NOBODY = "must name somebody: text that is not empty, and no placeholder such as null"


class Sentences(Faults):
    """The faults of one request, each as a sentence that names the key and the rule."""

    def __init__(self, what: str, length_min: int) -> None:
        super().__init__()
        self._what = what
        self._length_min = length_min
        self._sentences: list[str] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._count)

    def missing(self, field: str, index: int) -> None:
        """Note an object without a required key."""
        if field == ID_FIELDS[0]:
            self.say(index, "has neither user_id nor device_id")
        elif field not in ID_FIELDS:
            self.say(index, f"has no {field}")

    def invalid(self, field: str, index: int, reason: str | None = None) -> None:
        """Note a wrong value."""
        rule = reason or _RULES.get(field, _NAMES_NOBODY)
        self._note(f"{answers.echo(field)} of {self._what} {index} {answers.echo(rule)}")

    def short(self, field: str, index: int) -> None:
        """Note an identifier under the minimum."""
        rule = f"must have at least {self._length_min} characters"
        self._note(f"{field} of {self._what} {index} {rule}")

    def say(self, index: int, rule: str) -> None:
        """Note that an object as a whole breaks a rule."""
        self._note(f"{self._what} {index} {rule}")

    def _note(self, sentence: str) -> None:
        self._count += 1
        if len(self._sentences) < SENTENCES_MAX:
            self._sentences.append(sentence)

    def answer(self) -> Answer:
        """Return the one 400 that tells them."""
        more = self._count - len(self._sentences)
        told = "; ".join(self._sentences) + (f"; and {more} more" if more else "")
        return answers.text(400, f"invalid_event_field: {told}.")


def objects_of(value: bytes | None, name: str, objects_max: int) -> list[dict[str, Any]]:
    """Return what a field holds as JSON: one object, or a list of them.

    Raises:
        Refused: 400 `missing_event` for anything else (D15), 413 for more than `objects_max`.
    """
    if value is None or not value.strip():
        raise Refused(answers.text(400, "missing_event"))
    found = json_of(value, name)
    listed = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(one, dict) for one in listed):
        raise malformed(name, "must be a JSON object or a list of objects")
    if len(listed) > objects_max:
        raise Refused(answers.text(413, f"{name} holds more than {objects_max} objects."))
    return listed


def json_of(value: bytes, name: str) -> Any:
    """Return a field's JSON; raise `Refused`."""
    try:
        return parse(value.decode("utf-8-sig"))
    except RecursionError as error:
        raise malformed(name, "is nested too deeply") from error
    except ValueError as error:
        raise malformed(name, "is not valid JSON in UTF-8") from error


def malformed(name: str, rule: str) -> Refused:
    """Return the 400 for a field that is no JSON, or JSON of another shape."""
    return Refused(answers.text(400, f"missing_event: {name} {rule}."))


def note_repeated(given: dict[str, Any], index: int, faults: Faults) -> None:
    """Note a key that an object holds twice; picking keys out of it loses that."""
    if isinstance(given, Repeated):
        faults.invalid(given.key, index, "is there more than once")
