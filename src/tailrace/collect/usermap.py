"""`/usermap` and `GET /api/2/usermap`: which user is also which global user (3.5, D43)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tailrace.accounts.mappings import Mapped, UserMapping
from tailrace.clock import MICROS
from tailrace.collect import answers
from tailrace.collect.answers import Answer, Refused
from tailrace.collect.forms import Fields
from tailrace.collect.parsing import has_surrogate
from tailrace.collect.rates import WINDOW_SECONDS, Windows
from tailrace.collect.sentences import Sentences, json_of, malformed, note_repeated, objects_of
from tailrace.collect.strict import canonical_id, stored_id

MAPPINGS_MAX = 2000
USERS_ASKED_MAX = 100
# Mappings that an organization may send, on average over 30 s, where rates are limited.
MAPPINGS_PER_SECOND = 50

# IDs may be as short as an upload's options allow; a mapping has no options.
_ID_LENGTH_MIN = 1
_TRUE = (True, "true", "True")


class UserMappings(Protocol):
    """Where mappings are kept. All calls may block; `Transient` says that nothing was done."""

    def store(self, organization: int, mappings: Sequence[UserMapping]) -> None:
        """Keep the mappings in this order, the last of a user counts; on return they are durable.

        Any exception but `Transient` says that they may be stored.
        """
        ...

    def of_users(self, organization: int, user_ids: Sequence[str]) -> Mapping[str, Mapped]:
        """Return what is known of each of these users; raise `BadRequest` if it is too much."""
        ...

    def secret_key_is(self, project: int, secret_key: str) -> bool:
        """Tell whether this is the project's secret key."""
        ...


class MappingRates:
    """Refuse an organization that sent too many mappings in the last 30 s, until it did not.

    A request that is not stored is taken back by the moment that `admit` returned.
    """

    def __init__(self, steady_micros: Callable[[], int]) -> None:
        self._steady_micros = steady_micros
        self._windows = Windows(steps=WINDOW_SECONDS, step_micros=MICROS)

    def admit(self, organization: int, mappings: int) -> int | None:
        """Count the mappings if they may be sent, and return when; else return None."""
        name, now = b"%d" % organization, self._steady_micros()
        if (self._windows.total(name, now) or 0) >= MAPPINGS_PER_SECOND * WINDOW_SECONDS:
            return None
        self._windows.add(name, now, mappings)
        return now

    def take_back(self, organization: int, counted_micros: int, mappings: int) -> None:
        """Forget that the mappings were counted."""
        self._windows.take_back(b"%d" % organization, counted_micros, mappings)


def mappings_of(fields: Fields) -> list[UserMapping]:
    """Return the form's mappings in order; raise `Refused`."""
    given = objects_of(fields.get("mapping"), "mapping", MAPPINGS_MAX)
    faults = Sentences("mapping", _ID_LENGTH_MIN)
    found = []
    for index, one in enumerate(given):
        note_repeated(one, index, faults)
        mapping = _mapping(one, index, faults)
        if mapping is not None:
            found.append(mapping)
    if faults:
        raise Refused(faults.answer())
    return found


def _mapping(given: dict[str, Any], index: int, faults: Sentences) -> UserMapping | None:
    ids: dict[str, Any] = {}
    names = ("user_id", "global_user_id")
    sent = [canonical_id(given, name, index, faults, _ID_LENGTH_MIN, ids) for name in names]
    unmap = given.get("unmap") in _TRUE
    if not sent[0]:
        faults.say(index, "has no user_id")
    elif unmap and sent[1]:
        faults.say(index, "has both global_user_id and unmap; send one of them")
    elif not unmap and not sent[1]:
        faults.say(index, "has neither global_user_id nor unmap: true")
    elif ids.get("user_id") == ids.get("global_user_id") is not None:
        faults.invalid("global_user_id", index, "must not be the user_id itself")
    if "user_id" not in ids or (sent[1] and "global_user_id" not in ids):
        return None
    return UserMapping(ids["user_id"], ids.get("global_user_id"))


def users_asked(fields: Fields) -> list[str]:
    """Return the users that a look-up names: a JSON list, or one ID as it is; raise `Refused`."""
    given = fields.get("user_ids", b"").strip()
    if given[:1] == b"[":
        listed = json_of(given, "user_ids")
    else:
        try:
            listed = [given.decode()] if given else []
        except UnicodeDecodeError as error:
            raise malformed("user_ids", "is not UTF-8") from error
    texts = [str(one) if type(one) is int else one for one in listed]
    if not 1 <= len(texts) <= USERS_ASKED_MAX or not all(map(_is_text, texts)):
        rule = f"user_ids must be a list of 1 to {USERS_ASKED_MAX} user IDs."
        raise Refused(answers.text(400, rule))
    return texts


def _is_text(one: object) -> bool:
    return isinstance(one, str) and not has_surrogate(one)


def found_answer(asked: Sequence[str], found: Mapping[str, Mapped]) -> Answer:
    """Return the 200 with every user that was asked for, by the name in which it was.

    Lists are empty of unknown ones; what was found goes by stored IDs.
    """
    named = {user: found.get(stored_id(user), Mapped()) for user in asked}
    return Answer(200, msgspec.json.encode(named))
