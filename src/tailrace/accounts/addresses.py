"""E-mail addresses of people: which are taken, and when two are the same."""

from __future__ import annotations

import re

from tailrace.errors import BadRequest

# RFC 5321, 4.5.3.1: what a server must be able to take.
_LOCAL_CHARACTERS_MAX = 64
ADDRESS_CHARACTERS_MAX = 254

# The unquoted form without comments, in ASCII: whatever server carries the mail can deliver it.
_LOCAL = re.compile(r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")


def checked_address(text: str) -> str:
    """Return an address without blanks around it; raise `BadRequest` for what is none."""
    address = text.strip()
    local, at, domain = address.rpartition("@")
    if (
        not at
        or len(address) > ADDRESS_CHARACTERS_MAX
        or len(local) > _LOCAL_CHARACTERS_MAX
        or not _LOCAL.fullmatch(local)
        # Headers of mails take it for the beginning of an encoded word (RFC 2047).
        or "=?" in local
        or not all(_LABEL.fullmatch(label) for label in domain.split("."))
    ):
        raise BadRequest(
            f"Cannot use the e-mail address {address[:80]!r}: write it as name@example.com, with "
            f"at most {ADDRESS_CHARACTERS_MAX} ASCII characters."
        )
    return address


def folded(address: str) -> str:
    """Return the form in which an address is looked up: case makes no other person."""
    return address.strip().casefold()
