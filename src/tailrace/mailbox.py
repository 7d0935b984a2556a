"""Which addresses the headers of a mail can name."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address


def is_mailbox(address: str) -> bool:
    """Tell whether a message can be to or from an address, which has to be in ASCII."""
    try:
        parsed = Address(addr_spec=address)
    except (ValueError, MessageError, IndexError):
        # Each is what the library's parser raises for some text that is no address.
        return False
    return bool(parsed.domain) and address.isascii()
