"""What all tables are declared with."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

# SQLite numbers rows by itself only where the key's type is INTEGER.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
