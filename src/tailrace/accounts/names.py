"""Names that people give: to organizations, projects, keys and themselves."""

from __future__ import annotations

from tailrace.errors import BadRequest

NAME_CHARACTERS_MAX = 255


def checked_name(name: str, of: str) -> str:
    """Return a name without blanks around it; raise `BadRequest` if it can't be shown."""
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_CHARACTERS_MAX or not trimmed.isprintable():
        raise BadRequest(
            f"Cannot name the {of} {name[:40]!r}: a name has 1 to {NAME_CHARACTERS_MAX} printable "
            "characters. Choose another."
        )
    return trimmed
