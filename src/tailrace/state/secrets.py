"""Encrypt what tailrace must be able to read back, such as a bucket's secret access key.

The key file lies outside the database: a copy of the one without the other opens nothing.
"""

from __future__ import annotations

import base64
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from tailrace.errors import Corrupt, NeedsOperator
from tailrace.files import Files
from tailrace.ids import Ids
from tailrace.state.turns import in_turn

_KEY_BYTES = 32
_KEY_MODE = 0o600


class Secrets:
    """Encrypt and decrypt with the data folder's own key; never shows the key."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def __repr__(self) -> str:
        return "Secrets(...)"

    @classmethod
    def open(cls, key_path: Path, files: Files, ids: Ids) -> Secrets:
        """Read the key file, or make it if there is none; on return it is durable.

        Raise `NeedsOperator` if other users of the machine can read it, or if it is no key.
        """
        if not key_path.exists():
            _make_key(key_path, files, ids)
        _refuse_wide_mode(key_path)
        try:
            return cls(key_path.read_bytes().strip())
        except ValueError as error:
            raise NeedsOperator(
                f"Cannot read the key in {key_path}: it is not 32 bytes in base64. "
                "Restore the file from a backup; without it stored bucket keys can't be read."
            ) from error

    def encrypt(self, text: str) -> bytes:
        """Return the text encrypted; twice the same text gives different bytes."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, token: bytes) -> str:
        """Return the text; raise `Corrupt` if it was not encrypted with this key."""
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken as error:
            # The token is no secret, but says nothing to a reader either.
            raise Corrupt(
                "Cannot decrypt a stored secret: the key file is not the one it was encrypted "
                "with, or the database was damaged. Restore both from the same backup, or enter "
                "the destination's keys again."
            ) from error


def _make_key(key_path: Path, files: Files, ids: Ids) -> None:
    # Two commands may start at once on a new folder; the second must use the first one's key.
    with in_turn(key_path):
        if not key_path.exists():
            key = base64.urlsafe_b64encode(ids.random_bytes(_KEY_BYTES))
            files.put_whole(key_path, [key, b"\n"], point="secrets", mode=_KEY_MODE)


def _refuse_wide_mode(key_path: Path) -> None:
    mode = stat.S_IMODE(key_path.stat().st_mode)
    if mode & 0o077:
        raise NeedsOperator(
            f"Cannot use {key_path}: its mode {mode:04o} lets other users of this machine read "
            f"it. Run: chmod 600 {key_path}"
        )
