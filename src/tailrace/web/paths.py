"""Addresses that come back from a browser, such as where to go after signing in."""

from __future__ import annotations

from urllib.parse import urlsplit

_CHARACTERS_MAX = 2000


def own_path(text: str) -> str:
    """Return a path of this site as it is, and `/` for anything that may lead elsewhere."""
    parts = urlsplit(text) if _is_plain(text) else None
    if parts is None or parts.scheme or parts.netloc or not text.startswith("/"):
        return "/"
    return text


def _is_plain(text: str) -> bool:
    # Browsers read "//" and "/\" as the beginning of a host, and drop tabs and line breaks.
    return (
        len(text) <= _CHARACTERS_MAX
        and text.isascii()
        and text.isprintable()
        and "\\" not in text
        and not text.startswith("//")
    )
