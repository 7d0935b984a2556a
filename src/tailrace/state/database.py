"""Open the database of accounts, destinations and the ledger; bring its tables up to date.

Several processes use it at once: `reading` sees one snapshot and never waits, `writing` takes the
write lock at its beginning, so that a transaction never fails half-way because another one wrote.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tailrace.errors import NeedsOperator, NewerFormat
from tailrace.state.migrations import REVISIONS
from tailrace.state.turns import in_turn, make_private

# Write transactions take milliseconds, but SQLite's waiting is not first come, first served: a
# writer among many may be passed over often. A minute means that something hangs.
BUSY_SECONDS = 60

# One connection for each thread that may hold one: export workers, pages, the command line.
CONNECTIONS_MAX = 64
CONNECTIONS_KEPT = 4

_WRITE = "tailrace_write"

# Any number that no other user of the same PostgreSQL database takes.
_CHANGE_LOCK = 7_211_004


def open_database(path: Path) -> Engine:
    """Open or create the database and migrate it to this release's tables.

    Raise `NewerFormat` when a newer release has already changed it. Processes that start at the
    same time wait for one another here.
    """
    engine = _engine(path)
    with in_turn(path):
        make_private(path)
        try:
            _use_write_ahead_log(engine, path)
            _migrate(engine, path)
        except BaseException:
            engine.dispose()
            raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose statements all see one moment of the database."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection that holds the write lock; on leaving, what was written is durable.

    An exception rolls all of it back.
    """
    with engine.connect() as connection:
        connection.execution_options(**{_WRITE: True})
        with connection.begin():
            yield connection


def one_change_at_a_time(connection: Connection) -> None:
    """Let no other hand-over or change of a destination commit before this transaction does.

    Two that ran side by side would each miss the other's rows when deriving. On SQLite `writing`
    already sees to it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CHANGE_LOCK)))


def next_number(connection: Connection, counter: str) -> int:
    """Add one to a counter and return it."""
    statement = sa.text("UPDATE counter SET value = value + 1 WHERE name = :name RETURNING value")
    return int(connection.execute(statement, {"name": counter}).scalar_one())


def _engine(path: Path) -> Engine:
    engine = sa.create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        # An error's text goes into logs and onto terminals; keys and secrets are among the values.
        hide_parameters=True,
        pool_size=CONNECTIONS_KEPT,
        max_overflow=CONNECTIONS_MAX - CONNECTIONS_KEPT,
    )
    sa.event.listen(engine, "connect", _prepare_connection)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", _drop_if_read_only)
    return engine


def _prepare_connection(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would begin them without the write lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _drop_if_read_only(context: ExceptionContext) -> None:
    # Where the disk fails while a database is opened, SQLite opens it for reading only and says
    # nothing; kept in the pool, such a connection would refuse every write until the process ends.
    code = getattr(context.original_exception, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_READONLY:
        context.is_disconnect = True


def _use_write_ahead_log(engine: Engine, path: Path) -> None:
    # SQLite can't change the journal inside a transaction, hence the raw connection. The choice
    # stays in the file, so later connections find it.
    pooled = engine.raw_connection()
    try:
        cursor = pooled.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        mode = cursor.fetchone()
        cursor.close()
    finally:
        pooled.close()
    if mode is None or mode[0] != "wal":
        raise NeedsOperator(
            f"Cannot use {path}: its file system does not support SQLite's write-ahead log. "
            "Put the data folder on a local disk."
        )


def _migrate(engine: Engine, path: Path) -> None:
    with reading(engine) as connection:
        found = _revision(connection)
    if found == REVISIONS[-1]:
        return
    if found is not None and found not in REVISIONS:
        raise NewerFormat(
            f"Cannot open {path}: a newer release of tailrace has changed it "
            f"(revision {found}; this one knows up to {REVISIONS[-1]}). "
            "Start that release, or restore the backup made before the upgrade."
        )
    with writing(engine) as connection:
        _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    # Imported here because it takes longer than everything else a short command does.
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
