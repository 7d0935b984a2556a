"""Run by Alembic: apply revisions on the connection, and in the transaction, that it is handed."""

from __future__ import annotations

from alembic import context

from tailrace.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
