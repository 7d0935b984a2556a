"""Names that people give: to organizations, projects, keys, destinations and themselves.

One name may be typed as different characters, `ü` as one or as a `u` with a mark behind it. It is
kept composed (NFC), and compared so.
"""

from __future__ import annotations

import re
import unicodedata

from tailrace.errors import BadRequest

NAME_CHARACTERS_MAX = 255

# How many characters one of a name may be typed as. Longer texts are not composed: where marks
# follow on one another that takes the square of their number.
_TYPED_AS_MAX = 4

# What Persian and Hindi words and emoji of several parts are joined or parted with. Not to be seen
# by themselves, so that they make no other name, and stand between other characters alone.
_JOINERS = "\u200c\u200d"
_LOOSE_JOINER = re.compile(rf"(?:\A|[ {_JOINERS}])[{_JOINERS}]|[{_JOINERS}](?: |\Z)")

# Printable letters and symbols that look like a blank: Hangul fillers, and braille without a dot.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def checked_name(name: str, of: str, *, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """Return a name as it is kept, composed and without blanks around it.

    Raise `BadRequest` if it can't be shown, or nothing of it can be seen.
    """
    typed = name.strip()
    kept = _composed(typed) if len(typed) <= _TYPED_AS_MAX * characters_max else typed
    if len(kept) > characters_max or not _can_be_shown(kept) or not any(map(_is_visible, kept)):
        raise BadRequest(
            f"Cannot name the {of} {name[:40]!r}: a name has 1 to {characters_max} characters, all "
            "of them printable and at least one visible. Choose another."
        )
    return kept


def is_name(typed: str, kept: str) -> bool:
    """Tell whether a name that was typed is one that is kept, in all that can be seen of it."""
    typed = typed.strip()
    if len(typed) > _TYPED_AS_MAX * NAME_CHARACTERS_MAX:
        return False
    return _composed(_seen(typed)) == _composed(_seen(kept))


def folded_name(name: str) -> str:
    """Return the form in which kept names are compared: case makes no other name.

    It is that of Unicode's canonical caseless matching, since folding takes characters apart.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", _seen(name)).casefold())


def _can_be_shown(text: str) -> bool:
    return _seen(text).isprintable() and _LOOSE_JOINER.search(text) is None


def _seen(text: str) -> str:
    return re.sub(f"[{_JOINERS}]", "", text)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in _BLANK
