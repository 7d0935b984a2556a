"""What sealing must remember: files, sealed hours and the chain, beside the processing tables.

Every function takes the processing database's connection; writes belong inside one of its
transactions, opened by the caller (`tailrace.seal`).
"""

from __future__ import annotations

# Run after the processing tables are there: the indexes at the end are on one of them.
SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    scope INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    number INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    crc32 INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    handed_over INTEGER NOT NULL DEFAULT 0,
    in_archive INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (scope, hour, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_not_handed_over ON file (hour) WHERE handed_over = 0;
CREATE INDEX IF NOT EXISTS file_in_archive ON file (hour, scope, number) WHERE in_archive = 1;
CREATE TABLE IF NOT EXISTS sealed_hour (
    scope INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    record BLOB NOT NULL,
    digest TEXT NOT NULL,
    handed_over INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, hour)
);
CREATE INDEX IF NOT EXISTS sealed_hour_not_handed_over ON sealed_hour (hour) WHERE handed_over = 0;
CREATE TABLE IF NOT EXISTS scope_activity (
    scope INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    last_event_hour INTEGER NOT NULL,
    last_sealed_hour INTEGER NOT NULL,
    last_digest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS scope_activity_by_event ON scope_activity (last_event_hour);
CREATE TABLE IF NOT EXISTS alarm (
    scope INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    sentence TEXT NOT NULL,
    PRIMARY KEY (scope, hour)
);
CREATE INDEX IF NOT EXISTS chunk_by_hour ON chunk (hour, project, sequence);
CREATE INDEX IF NOT EXISTS chunk_by_pack ON chunk (pack);
"""
