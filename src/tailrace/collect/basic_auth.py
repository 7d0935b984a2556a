"""Basic authentication with a project's API key and secret key (D36).

Used by the endpoints that read: their callers are servers, which hold the secret key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.keys import Keys, Owner

# Both keys have 32 characters; what is longer is not decoded.
CREDENTIALS_BYTES_MAX = 1024

# Whether this is the project's secret key; it reads a database, off the loop.
SecretKeyIs = Callable[[int, str], Awaitable[bool]]


async def authenticated(
    headers: Mapping[bytes, bytes], keys: Keys, secret_key_is: SecretKeyIs
) -> Owner:
    """Return the project whose API key and secret key the request holds.

    Raises:
        Refused: 403 for no, wrong or revoked keys, whichever of them it is.
        KeysUnread: the API keys can't be read now.
    """
    given = credentials(headers)
    if given is None:
        raise Refused(answers.forbidden())
    api_key, secret_key = given
    owner = await keys.owner(api_key)
    if owner is None or not await secret_key_is(owner.project, secret_key):
        raise Refused(answers.forbidden())
    return owner


def credentials(headers: Mapping[bytes, bytes]) -> tuple[str, str] | None:
    """Return API key and secret key as the Authorization header has them, or None."""
    scheme, _, encoded = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic" or len(encoded) > CREDENTIALS_BYTES_MAX:
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    api_key, colon, secret_key = text.partition(":")
    return (api_key, secret_key) if colon else None
