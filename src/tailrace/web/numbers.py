"""Whole numbers as addresses and forms have them: no longer than any that there can be."""

from __future__ import annotations

from starlette.convertors import IntegerConvertor

# Every number that is given out is shorter, and SQLite's are not much longer.
DIGITS_MAX = 15


class Number(IntegerConvertor):
    """A number in an address; a longer one is an address that there is not."""

    regex = f"[0-9]{{1,{DIGITS_MAX}}}"


def is_number(text: str) -> bool:
    """Tell whether a text is such a number."""
    return 0 < len(text) <= DIGITS_MAX and text.isascii() and text.isdecimal()
