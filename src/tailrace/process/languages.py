"""`language_name`: a language tag or a language's name as the English name of the base language.

The table is CLDR's, by babel, with the exceptions of the product's published one (3.1.8, D27).
"""

from __future__ import annotations

from functools import cache

from babel.core import Locale

# Tags whose published name is not CLDR's; "ga" is an error there, and kept as what lines hold, but
# a language that was sent by its name is not called another for it.
_OVERRIDES = {
    "ace": "Achinese",
    "bla": "Siksika",
    "bn": "Bengali",
    "ckb": "Sorani Kurdish",
    "crh": "Crimean Turkish",
    "ff": "Fulah",
    "ga": "Ga",
    "ht": "Haitian",
    "lah": "Lahnda",
    "mgo": "Meta'",
    "mi": "Maori",
    "mic": "Micmac",
    "mus": "Creek",
    "nb": "Norwegian",
    "nl-be": "Flemish",
    "nn": "Norwegian",
    "or": "Oriya",
    "ro-md": "Moldavian",
    "sah": "Sakha",
}
_OWN_NAMES = {"ga": "Irish"}
_NAMES = {"dutch (belgium)": "Flemish", "albanian (albania)": "Sanskrit"}

# The languages in which names are known, each in its own: those that systems and browsers are
# widely used in. A locale takes 5 ms and 200 kB, and there are 300 of them.
_LOCALES = (
    "af am ar az be bg bn bs ca cs cy da de el es et eu fa fi fil fr ga gl gu he hi hr hu hy id is "
    "it ja ka kk km kn ko lt lv mk ml mn mr ms my nb ne nl nn no pa pl pt ro ru si sk sl sq sr sv "
    "sw ta te th tr uk ur uz vi zh zu"
)


def language_name(text: str) -> str:
    """Return the English name of a tag's or name's language; an unknown text is kept (D27)."""
    found = _seen.get(text)
    if found is None:
        trimmed = text.strip()
        found = _find(trimmed.lower()) or trimmed
        if len(text) > _SEEN_LENGTH_MAX:
            return found
        if len(_seen) >= _SEEN_MAX:
            _seen.clear()
        _seen[text] = found
    return found


# Spellings are few; who makes up more of them starts the memory anew. Names have 42 characters at
# most; texts of 1,024 would take 30 MB.
_SEEN_MAX = 4_096
_SEEN_LENGTH_MAX = 100
_seen: dict[str, str] = {}


def _find(text: str) -> str | None:
    tag = text.replace("_", "-")
    tags = _tags()
    name = _NAMES.get(text) or tags.get(tag) or tags.get(tag.partition("-")[0])
    if name is not None:
        return name
    names = _english_names()
    # "English (United Kingdom)" is named by what stands before the bracket.
    before, bracket, _ = text.partition(" (")
    name = names.get(text) or names.get(before)
    if name is not None:
        return name
    foreign = _foreign_names()
    return foreign.get(text) or (foreign.get(before) if bracket else None)


@cache
def _tags() -> dict[str, str]:
    found = {code: name for code, name in Locale("en").languages.items() if code.isalpha() and name}
    return found | _OVERRIDES


@cache
def _english_names() -> dict[str, str]:
    tags = _tags() | _OWN_NAMES
    found = {}
    for code, name in Locale("en").languages.items():
        base = tags.get(code.partition("_")[0])
        if base is not None:
            found[name.lower()] = base
    return found | {name.lower(): name for name in tags.values()}


@cache
def _foreign_names() -> dict[str, str]:
    """Return every language's name in each of the locales; own names come first."""
    tags = _tags() | _OWN_NAMES
    own: dict[str, str] = {}
    others: dict[str, str] = {}
    for code in _LOCALES.split():
        for of, name in Locale.parse(code).languages.items():
            base = of.partition("_")[0]
            if base in tags:
                (own if base == code else others).setdefault(name.lower(), tags[base])
    return others | own
