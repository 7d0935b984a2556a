"""The tables of the processing database; `hour` columns hold `Hour.number`, stamps microseconds,
`day` days since 1970-01-01.

Identity belongs to an organization, properties and persons to a project (behaviour 4.3, 4.4.1).
"""

from __future__ import annotations

FORMAT = 3

# Which hash makes dedupe keys of events' names. A database keeps the one that its keys were made
# with: under another no event of the last seven days would be known. Format 1 had the keyed one.
SEEDED = "xxh3"
KEYED = "blake2b"

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS position (
    partition INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    stamp INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS project_hour (
    project INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    settings TEXT NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    exported INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    identifies INTEGER NOT NULL DEFAULT 0,
    filtered INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    first_stamp INTEGER NOT NULL,
    last_stamp INTEGER NOT NULL,
    PRIMARY KEY (project, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event_date (
    project INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    date TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (project, hour, date)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    pack TEXT NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    raw_length INTEGER NOT NULL,
    lines INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS device (
    organization INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    amplitude_id INTEGER NOT NULL,
    anonymous INTEGER NOT NULL,
    PRIMARY KEY (organization, device_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS user (
    organization INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    amplitude_id INTEGER NOT NULL,
    PRIMARY KEY (organization, user_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identity (
    amplitude_id INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    user_id TEXT
);
CREATE TABLE IF NOT EXISTS merge (
    amplitude_id INTEGER PRIMARY KEY,
    merged_amplitude_id INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    merge_time INTEGER NOT NULL,
    merge_server_time INTEGER NOT NULL,
    sequence INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS person (
    amplitude_id INTEGER NOT NULL,
    project INTEGER NOT NULL,
    first_event_micros INTEGER,
    start_version TEXT,
    paying INTEGER,
    device TEXT,
    place TEXT,
    language TEXT,
    version TEXT,
    more BLOB,
    PRIMARY KEY (amplitude_id, project)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS user_property (
    amplitude_id INTEGER NOT NULL,
    project INTEGER NOT NULL,
    properties BLOB NOT NULL,
    PRIMARY KEY (amplitude_id, project)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS group_property (
    project INTEGER NOT NULL,
    group_type TEXT NOT NULL,
    group_value TEXT NOT NULL,
    properties BLOB NOT NULL,
    PRIMARY KEY (project, group_type, group_value)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dedupe_run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    day INTEGER NOT NULL,
    body BLOB,
    file TEXT
);
CREATE TABLE IF NOT EXISTS held (
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    project INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    error TEXT NOT NULL,
    event BLOB NOT NULL,
    events INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    received_micros INTEGER NOT NULL,
    client_upload_micros INTEGER,
    client_address TEXT NOT NULL,
    PRIMARY KEY (partition, position, idx)
) WITHOUT ROWID;
"""
