"""Tell a busy database, which a request may meet again later, from a broken one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from tailrace.errors import Transient


@contextmanager
def busy_is_transient() -> Iterator[None]:
    """Say of a lock that did not become free that nothing was done; other errors stay."""
    try:
        yield
    except NoFreeConnection as error:
        raise Transient("No connection to the database is free.") from error
    except (OperationalError, sqlite3.OperationalError) as error:
        original = error.orig if isinstance(error, OperationalError) else error
        if getattr(original, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise Transient("The database is busy.") from error
