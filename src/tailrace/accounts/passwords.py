"""Passwords of people: which are taken, how they are kept (argon2id), and how they are checked."""

from __future__ import annotations

import threading
import unicodedata

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from tailrace.errors import BadRequest, Corrupt
from tailrace.ids import Ids

PASSWORD_CHARACTERS_MIN = 12
# Far above what people choose, and little enough to hash in no time.
PASSWORD_CHARACTERS_MAX = 1024


class Passwords:
    """Hash and check passwords, one at a time: each takes 64 MiB for a tenth of a second.

    Hashes tell their own parameters, so a later release may choose others: `outdated` then says
    which hashes to make anew.
    """

    def __init__(self, ids: Ids, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._ids = ids
        self._one_at_a_time = threading.Lock()
        # Checked in the place of a hash that is not there, so that time tells nobody of it.
        self._nobody = self.hash(ids.random_bytes(parameters.salt_len).hex())

    def hash(self, password: str) -> str:
        """Return what is kept of a password; the text holds salt and parameters."""
        salt = self._ids.random_bytes(self._hasher.salt_len)
        with self._one_at_a_time:
            return self._hasher.hash(_prepared(password), salt=salt)

    def matches(self, stored: str | None, password: str) -> bool:
        """Tell whether a hash is that of the password; None is nobody's and takes as long.

        Raise `Corrupt` for a text that is no hash.
        """
        if len(password) > PASSWORD_CHARACTERS_MAX:
            return False
        try:
            with self._one_at_a_time:
                self._hasher.verify(stored or self._nobody, _prepared(password))
        except InvalidHashError as error:
            raise Corrupt(
                "A stored password is no argon2 hash. Set that person's password anew with "
                '"tailrace person password".'
            ) from error
        except VerificationError:
            return False
        return stored is not None

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(stored)


def checked_password(password: str, address: str) -> str:
    """Return a password that may be set; raise `BadRequest` that names the rule, never the text."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise BadRequest(
            f"Cannot take this password: one has {PASSWORD_CHARACTERS_MIN} to "
            f"{PASSWORD_CHARACTERS_MAX} characters. Choose another."
        )
    if not password.isprintable():
        raise BadRequest("Cannot take this password: it holds a control character. Choose another.")
    if password.casefold() == address.casefold() or len(set(password)) == 1:
        raise BadRequest(
            "Cannot take this password: it is the e-mail address, or one character again and "
            "again. Choose another."
        )
    return password


def _prepared(password: str) -> bytes:
    # Keyboards differ in how they put accents together (NIST SP 800-63B, 3.1.1.2). What a
    # terminal could not decode stays what it was.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
