"""How a processing database of an earlier release becomes one of this release's format.

Called inside the transaction that opens the database, once its tables are there.
"""

from __future__ import annotations

import sqlite3

from tailrace.state import insertions
from tailrace.state.processing_schema import KEYED, SCHEMA


def bring_up(connection: sqlite3.Connection, found: int) -> None:
    """Change the tables of format `found` to those of the present one; nothing is lost."""
    if found < 2:
        insertions.rows_of_table(connection)
        connection.execute("DROP TABLE dedupe")
        connection.execute("DELETE FROM meta WHERE name = 'dedupe_swept'")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'dedupe_hash'", (KEYED,))
    if found < 3:
        _persons_by_id(connection)


def _persons_by_id(connection: sqlite3.Connection) -> None:
    """Order persons by id, then project, and let them be known before their first event.

    Formats 1 and 2 kept a project's persons together, and wrote no properties.
    """
    connection.execute("ALTER TABLE person RENAME TO person_by_project")
    connection.execute("DROP TABLE user_property")
    for statement in SCHEMA.split(";"):
        if " person (" in statement or " user_property (" in statement:
            connection.execute(statement)
    connection.execute(
        "INSERT INTO person (amplitude_id, project, first_event_micros, start_version, paying) "
        "SELECT amplitude_id, project, first_event_micros, start_version, paying "
        "FROM person_by_project ORDER BY amplitude_id, project"
    )
    connection.execute("DROP TABLE person_by_project")
