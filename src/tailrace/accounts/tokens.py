"""Tokens: texts that let in whoever has them. Here only their hashes are kept."""

from __future__ import annotations

import hashlib

from tailrace.ids import Ids

_BYTES = 32


def random_token(ids: Ids) -> str:
    """Return a token that nobody can guess, 64 hexadecimal digits."""
    return ids.random_bytes(_BYTES).hex()


def token_hash(token: str) -> str:
    """Return what is kept of a token, and by which whoever shows any text is looked up.

    Nobody can try out 160 random bits or more, so a fast hash keeps them as well as a slow one.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
