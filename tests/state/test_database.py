"""The database opens, migrates and serves several processes at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

import tailrace.state.migrations
from tailrace.errors import NewerFormat
from tailrace.state.database import next_number, open_database, reading, writing
from tailrace.state.migrations import REVISIONS
from tailrace.state.outage_history import open_outages
from tailrace.state.tables import (
    delivery,
    delivery_file,
    membership,
    metadata,
    organization,
    person,
    project,
)

COUNT_UP = """
import sys
from pathlib import Path
from tailrace.state.database import next_number, open_database, writing

engine = open_database(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    with writing(engine) as connection:
        next_number(connection, "project")
engine.dispose()
"""

# One project with a run that is delivered, and one that waits.
ROWS = (
    "UPDATE counter SET value = 300001 WHERE name = 'project'",
    "INSERT INTO organization (id, name, created_micros) VALUES (1, 'Acme', 0)",
    "INSERT INTO project (id, organization, name, secret_key_sha256, created_micros)"
    " VALUES (2, 1, 'Shop', '', 0)",
    "INSERT INTO destination (id, organization, project, kind, bucket, prefix, include_events,"
    " include_merged_ids, manifest, marker, state, created_micros)"
    " VALUES (3, 1, 2, 'amazon-s3', 'acme', '', 1, 0, 1, 1, 'active', 0)",
    "INSERT INTO delivery (destination_id, data_type, hour, scope, state, attempts, lease,"
    " created_micros, finished_micros) VALUES (3, 'events', 5, 2, 'success', 2, 2, 0, 9)",
    "INSERT INTO delivery (destination_id, data_type, hour, scope, state, due_micros, attempts,"
    " lease, upload_key, upload_id, created_micros)"
    " VALUES (3, 'events', 6, 2, 'retrying', 7, 3, 3, 'k#1', 'upload', 0)",
    "INSERT INTO delivery_file (destination_id, data_type, hour, number, key, how,"
    " delivered_micros) VALUES (3, 'events', 5, 1, 'k#1', 'put', 8)",
)


def _count(engine: Engine) -> int:
    with reading(engine) as connection:
        statement = sa.text("SELECT value FROM counter WHERE name = 'project'")
        return int(connection.execute(statement).scalar_one())


def test_the_revisions_make_the_tables_that_the_code_uses(engine: Engine) -> None:
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_revision_file_is_listed_in_order() -> None:
    folder = Path(tailrace.state.migrations.__file__).parent
    found = [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def _make_at(path: Path, revision: str) -> Engine:
    """Make a database as the release of a revision made it."""
    config = Config()
    folder = Path(tailrace.state.migrations.__file__).parent
    config.set_main_option("script_location", str(folder))
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return engine


@pytest.mark.parametrize("revision", ["0001", "0003", "0004"])
def test_a_database_of_an_earlier_release_gets_the_new_tables_and_keeps_its_rows(
    tmp_path: Path, revision: str
) -> None:
    path = tmp_path / "tailrace.sqlite"
    first = _make_at(path, revision)
    with first.begin() as connection:
        for statement in ROWS:
            connection.execute(sa.text(statement))
    first.dispose()

    second = open_database(path)

    assert _count(second) == 300_001
    with reading(second) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        runs = connection.execute(sa.select(delivery).order_by(delivery.c.hour)).all()
        files = connection.execute(sa.select(delivery_file)).all()
    assert [(run.hour, run.state, run.attempts, run.upload_id) for run in runs] == [
        (5, "success", 2, None),
        (6, "retrying", 3, "upload"),
    ]
    assert {run.manual_export for run in runs} == {0}
    assert [(file.hour, file.manual_export, file.number, file.key) for file in files] == [
        (5, 0, 1, "k#1"),
    ]
    with writing(second) as connection:
        assert next_number(connection, "manual_export") == 1
    second.dispose()


def test_the_address_of_an_organization_becomes_its_first_admin(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.sqlite"
    old = _make_at(path, "0005")
    with old.begin() as connection:
        for number, email in enumerate(
            ("Ann@example.com", None, " ann@Example.com", "bob@b.example")
        ):
            connection.execute(
                sa.text(
                    "INSERT INTO organization (id, name, admin_email, created_micros)"
                    " VALUES (:id, 'x', :email, :at)"
                ),
                {"id": number, "email": email, "at": number + 50},
            )
        key = "INSERT INTO api_key (key, project, created_micros) VALUES ('k', 2, 3)"
        for statement in (ROWS[2], key):
            connection.execute(sa.text(statement))
    old.dispose()

    new = open_database(path)

    with reading(new) as connection:
        people = connection.execute(sa.select(person).order_by(person.c.id)).all()
        roles = connection.execute(sa.select(membership).order_by(membership.c.organization)).all()
        keys = connection.execute(sa.text("SELECT key, project, name FROM api_key")).all()
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    assert [(one.id, one.email, one.password_hash) for one in people] == [
        (1, "Ann@example.com", None),
        (2, "bob@b.example", None),
    ]
    assert [tuple(one) for one in roles] == [
        (0, 1, None, "admin", 50),
        (2, 1, None, "admin", 52),
        (3, 2, None, "admin", 53),
    ]
    assert [tuple(one) for one in keys] == [("k", 2, None)]
    with writing(new) as connection:
        assert next_number(connection, "person") == 3
    new.dispose()


def test_an_outage_of_an_earlier_release_gets_its_row(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.sqlite"
    old = _make_at(path, "0007")
    cause = '{"kind":"access","code":"AccessDenied","sentence":"No.","fix":"Add it."}'
    with old.begin() as connection:
        for statement in ROWS[:4]:
            connection.execute(sa.text(statement))
        connection.execute(
            sa.text("UPDATE destination SET outage_since_micros = 7, outage_cause = :cause"),
            {"cause": cause},
        )
    old.dispose()

    new = open_database(path)

    with reading(new) as connection:
        (found,) = open_outages(connection, 10)
    assert (found.destination_id, found.began_micros, found.ended_micros) == (3, 7, None)
    assert (found.cause.code, found.probed) == ("AccessDenied", False)
    new.dispose()


def test_a_fault_of_an_earlier_release_is_found_by_its_code(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.sqlite"
    old = _make_at(path, "0014")
    with old.begin() as connection:
        for statement in ROWS[:4]:
            connection.execute(sa.text(statement))
        for hour, kind in enumerate(("operator", "temporary")):
            cause = f'{{"kind":"{kind}","code":"Oops","sentence":"No.","fix":"Mend it."}}'
            statement = ROWS[5].replace(", upload_key,", ", manual_export, cause,")
            statement = statement.replace(" upload_id,", "").replace("'k#1', 'upload'", "0, :cause")
            values = {"cause": cause}
            connection.execute(sa.text(statement.replace("6, 2", f"{hour}, 2")), values)
    old.dispose()

    new = open_database(path)

    with reading(new) as connection:
        codes = sa.select(delivery.c.fault_code).order_by(delivery.c.hour)
        assert connection.execute(codes).scalars().all() == ["Oops", None]
    new.dispose()


def test_a_second_opening_changes_nothing(tmp_path: Path) -> None:
    first = open_database(tmp_path / "tailrace.sqlite")
    with writing(first) as connection:
        assert next_number(connection, "project") == 300_001
    first.dispose()
    second = open_database(tmp_path / "tailrace.sqlite")
    assert _count(second) == 300_001
    second.dispose()


def test_other_users_of_the_machine_can_not_read_it(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "tailrace.sqlite")
    with reading(engine):
        modes = {path.name: path.stat().st_mode & 0o007 for path in tmp_path.glob("tailrace*")}
    engine.dispose()
    assert modes == dict.fromkeys(
        ("tailrace.sqlite", "tailrace.sqlite-shm", "tailrace.sqlite-wal"), 0
    )


def test_an_error_names_no_values(engine: Engine) -> None:
    statement = sa.text("INSERT INTO api_key (key, project, created_micros) VALUES (:key, 1, 2)")
    with pytest.raises(IntegrityError) as raised, writing(engine) as connection:
        connection.execute(statement, {"key": "0123456789abcdef"})
    assert "0123456789abcdef" not in str(raised.value)


def test_a_folder_with_a_percent_sign_opens(tmp_path: Path) -> None:
    folder = tmp_path / "100%(a)s"
    folder.mkdir()
    engine = open_database(folder / "tailrace.sqlite")
    assert _count(engine) == 300_000
    engine.dispose()


def test_a_newer_revision_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.sqlite"
    engine = open_database(path)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(NewerFormat, match=rf"newer release .*revision 9999.*up to {REVISIONS[-1]}"):
        open_database(path)


def test_a_failed_migration_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    path = tmp_path / "tailrace.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "bulk_insert", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            open_database(path)
    engine = open_database(path)
    assert _count(engine) == 300_000
    engine.dispose()


def test_commits_are_durable_and_foreign_keys_hold(engine: Engine) -> None:
    with reading(engine) as connection:
        ask = connection.exec_driver_sql
        assert ask("PRAGMA journal_mode").scalar() == "wal"
        assert ask("PRAGMA synchronous").scalar() == 2
        assert ask("PRAGMA foreign_keys").scalar() == 1
        assert int(ask("PRAGMA busy_timeout").scalar() or 0) >= 10_000
    orphan = {"id": 1, "organization": 5, "name": "x", "secret_key_sha256": ""}
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(project.insert().values(**orphan, created_micros=0))


def test_an_error_rolls_the_whole_change_back(engine: Engine) -> None:
    def add_and_fail() -> None:
        with writing(engine) as connection:
            next_number(connection, "project")
            raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        add_and_fail()
    assert _count(engine) == 300_000


def test_a_reader_sees_one_moment_while_another_connection_writes(engine: Engine) -> None:
    count = sa.select(sa.func.count()).select_from(organization)
    with reading(engine) as reader:
        before = reader.execute(count).scalar_one()
        with writing(engine) as writer:
            writer.execute(organization.insert().values(id=1, name="x", created_micros=0))
        assert reader.execute(count).scalar_one() == before == 0


@pytest.mark.slow  # starts four interpreters, which is what it is about
def test_processes_that_start_and_write_at_once_never_meet_a_locked_database(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tailrace.sqlite"
    command = [sys.executable, "-W", "error", "-c", COUNT_UP, str(path), "100"]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [child.communicate(timeout=100)[1] for child in children]
    assert errors == ["", "", "", ""]
    engine = open_database(path)
    assert _count(engine) == 300_000 + 400
    engine.dispose()


def test_threads_that_write_at_once_wait_for_one_another(engine: Engine) -> None:
    def count_up() -> None:
        for _ in range(40):
            with writing(engine) as connection:
                numbers.append(next_number(connection, "project"))

    numbers: list[int] = []
    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(300_001, 300_001 + 320))


def test_the_tables_can_be_made_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    for table in metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=dialect))
        assert "DATETIME" not in text
        assert "_micros BIGINT" in text or not any("micros" in c.name for c in table.columns)
        for index in table.indexes:
            assert "CREATE INDEX" in str(CreateIndex(index).compile(dialect=dialect))


def test_a_connection_that_can_only_read_is_not_kept(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "tailrace.sqlite")
    with engine.connect() as connection:
        # What SQLite gives out where the disk failed while the file was opened for writing.
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(OperationalError, match="readonly"), writing(engine) as connection:
        next_number(connection, "project")
    with writing(engine) as connection:
        next_number(connection, "project")
    engine.dispose()


def test_destinations_of_an_earlier_release_get_names_of_their_buckets(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.sqlite"
    old = _make_at(path, "0010")
    long = "b" * 63
    rows = (
        # Number, project, bucket, state.
        (3, 2, "acme", "active"),
        (4, 2, "acme", "deleted"),
        (5, 2, "acme", "paused"),
        (6, 9, "acme", "active"),
        (7, 2, long, "setting_up"),
        (8, 2, long, "setting_up"),
    )
    another = ROWS[2].replace("(2, 1", "(9, 1")
    with old.begin() as connection:
        for statement in (*ROWS[:3], another):
            connection.execute(sa.text(statement))
        for number, project, bucket, state in rows:
            values = f"({number}, 1, {project}, 'amazon-s3', '{bucket}', '', 1, 0, 1, 1, '{state}'"
            statement = ROWS[3].partition(" VALUES ")[0] + f" VALUES {values}, 0)"
            connection.execute(sa.text(statement))
    old.dispose()

    new = open_database(path)

    with reading(new) as connection:
        named = sa.text("SELECT id, name FROM destination ORDER BY id")
        names = {row.id: row.name for row in connection.execute(named)}
    assert names == {
        3: "Amazon S3 acme",
        # A deleted one keeps nobody from a name.
        4: "Amazon S3 acme 2",
        5: "Amazon S3 acme 2",
        6: "Amazon S3 acme",
        7: f"Amazon S3 {long}"[:60],
        8: f"Amazon S3 {long}"[:58] + " 2",
    }
    new.dispose()
