"""The commands on a folder whose service does not run: output, JSON and exit codes."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state import processing_rows
from tailrace.state.processing import ProcessingStore

FINE, FAILED, WRONG_USE, NEEDS_OPERATOR = 0, 1, 2, 3

Run = Callable[..., Any]


def test_init_prints_ids_and_keys_once(run: Run) -> None:
    made = run("init", "--org-name", "Acme", "--project-name", "Shop", "--json")
    assert made.code == FINE
    keys = {"org_id", "project_id", "api_key", "secret_key", "first_run"}
    assert set(made.json()) == keys
    again = run("init")
    assert again.code == NEEDS_OPERATOR
    assert "project add" in again.err


def test_a_second_project_is_of_the_same_organization(run: Run) -> None:
    first = run("init", "--json").json()
    second = run("project", "add", "--name", "App", "--json").json()
    assert second["org_id"] == first["org_id"]
    assert second["project_id"] != first["project_id"]
    assert second["api_key"] != first["api_key"]


def test_options_of_a_project_are_set_and_shown(run: Run) -> None:
    project = str(run("init", "--project-name", "Shop", "--json").json()["project_id"])
    before = run("project", "show", project, "--json").json()
    assert before == {
        "project_id": int(project),
        "org_id": 100001,
        "name": "Shop",
        "schema_number": 12,
        "extended_columns": False,
        "drop_ip": False,
        "drop_location": False,
        "drop_bots": False,
        "keep_advertising_ids": False,
    }

    words: tuple[str, ...] = (
        "--schema-number",
        "null",
        "--extended-columns",
        "on",
        "--drop-ip",
        "on",
    )
    words += ("--drop-bots", "on")
    changed = run("project", "set", project, *words, "--json")
    assert changed.code == FINE
    assert changed.json() == before | {
        "schema_number": None,
        "extended_columns": True,
        "drop_ip": True,
        "drop_bots": True,
    }
    words = ("--schema-number", "12", "--extended-columns", "off", "--drop-location", "on")
    words += ("--keep-advertising-ids", "on")
    text = run("project", "set", project, *words).out
    assert "schema number         12\nextended columns      off\ndrop IP               on\n" in text
    assert "drop bots             on\nkeep advertising IDs  on\n" in text
    assert run("project", "show", project).out == text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "300001"), "name at least one option"),
        (("set", "7", "--drop-ip", "on"), "There is no project 7"),
        (("show", "7"), "There is no project 7"),
        (("set", "300001", "--schema-number", "13"), "--schema-number"),
        (("set", "300001", "--drop-ip", "yes"), "--drop-ip"),
        (("set", "shop", "--drop-ip", "on"), "PROJECT"),
    ],
)
def test_a_wrong_option_of_a_project_is_named(
    run: Run, words: tuple[str, ...], sentence: str
) -> None:
    run("init")
    done = run("project", *words)
    assert done.code == WRONG_USE
    assert sentence in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("project", "add", "--name", "App"),
        ("project", "show", "300001"),
        ("project", "set", "300001", "--drop-ip", "on"),
        ("destination", "list"),
        ("verify", "1"),
        ("serve",),
        ("held", "list"),
    ],
)
def test_a_folder_that_is_none_needs_the_operator(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == NEEDS_OPERATOR
    assert "tailrace init" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("status", "--nonsense"),
        ("project", "add"),
        ("destination", "add", "amazon-s3", "--project", "1"),
        ("serve", "--listen", "here"),
        ("serve", "--clock-start", "noon"),
        ("init", "--email", "nobody"),
        ("log", "retire", "7"),
        ("verify", "99"),
    ],
)
def test_wrong_use_is_exit_code_2_with_a_sentence(run: Run, words: tuple[str, ...]) -> None:
    if words[0] != "init":
        run("init")
    done = run(*words)
    assert done.code == WRONG_USE
    assert done.err.strip()
    assert "Traceback" not in done.err


def test_the_status_of_a_new_folder_is_empty_and_says_so(run: Run) -> None:
    run("init")
    status = run("status", "--json").json()
    assert status["running"] is False
    assert status["hours"] == {"collecting": 0, "sealed": 0}
    assert status["runs"] == {}
    assert status["held"] == 0
    assert "stopped" in run("status").out


def test_settings_show_value_origin_and_meaning(run: Run, data: Path) -> None:
    run("init")
    (data / "tailrace.toml").write_text("[log]\nkeep_hours = 5\n")
    shown = run("settings", "--json", TAILRACE_SEAL_PARTITION_BYTES="9999").json()
    by_key = {setting["key"]: setting for setting in shown}
    assert by_key["log.keep_hours"]["value"] == 5
    assert by_key["log.keep_hours"]["origin"] == "tailrace.toml"
    assert by_key["seal.partition_bytes"]["value"] == 9999
    assert all(setting["meaning"] for setting in shown)
    assert "log.keep_hours" in run("settings").out


def test_a_bad_setting_stops_the_start_and_is_named(run: Run) -> None:
    run("init")
    done = run("serve", TAILRACE_SEAL_PARTITION_BYTES="many")
    assert done.code == NEEDS_OPERATOR
    assert "TAILRACE_SEAL_PARTITION_BYTES" in done.err
    unknown = run("serve", TAILRACE_SEAL_PARTITION="1")
    assert unknown.code == NEEDS_OPERATOR
    assert "TAILRACE_SEAL_PARTITION" in unknown.err


def test_a_taken_port_needs_the_operator(run: Run) -> None:
    run("init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.code == NEEDS_OPERATOR
    assert "--listen" in done.err


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--bucket", "No_Bucket", "bucket"),
        ("--region", "Frankfurt am Main", "region"),
        ("--prefix", "../up", "prefix"),
        ("--include", "everything", "--include"),
        ("--endpoint-url", "ftp://example", "endpoint"),
        ("--project", "5", "project"),
        ("--access-key-id", "AK", "--secret-access-key-file"),
    ],
)
def test_a_destination_that_can_not_be_is_refused_by_field(
    run: Run, option: str, value: str, named: str
) -> None:
    project = run("init", "--json").json()["project_id"]
    options = {"--project": str(project), "--bucket": "acme", "--region": "us-west-2"}
    words = [word for item in (options | {option: value}).items() for word in item]
    done = run("destination", "add", "amazon-s3", *words)
    assert done.code == WRONG_USE
    assert named in done.err
    assert run("destination", "list", "--json").json() == []


def test_an_unreachable_bucket_is_kept_as_being_set_up(run: Run, tmp_path: Path) -> None:
    project = run("init", "--json").json()["project_id"]
    secret = tmp_path / "secret"
    secret.write_text("hidden-secret\n")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    done = run(
        *("destination", "add", "amazon-s3", "--project", str(project), "--bucket", "acme"),
        *("--region", "us-west-2", "--endpoint-url", f"http://127.0.0.1:{port}"),
        *("--access-key-id", "AK", "--secret-access-key-file", str(secret), "--json"),
    )
    assert done.code == FAILED
    shown = done.json()
    assert shown["passed"] is False
    assert shown["destination"]["state"] == "setting_up"
    listed = run("destination", "list", "--json").json()
    assert [one["state"] for one in listed] == ["setting_up"]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("tailrace.sqlite*"))
    assert b"hidden-secret" not in stored
    assert "hidden-secret" not in done.out + done.err


def test_what_a_destination_receives_is_changed_and_shown(run: Run, tmp_path: Path) -> None:
    project = run("init", "--json").json()["project_id"]
    secret = tmp_path / "secret"
    secret.write_text("hidden-secret\n")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    run(
        *("destination", "add", "amazon-s3", "--project", str(project), "--bucket", "acme"),
        *("--region", "us-west-2", "--endpoint-url", f"http://127.0.0.1:{port}"),
        *("--access-key-id", "AK", "--secret-access-key-file", str(secret)),
    )
    # It was never verified: what it receives is changed at once, and then it is probed again.
    changed = run("destination", "edit", "1", "--include", "merged-ids", "--json")
    assert changed.json()["destination"]["include"] == ["merged-ids"]
    run("destination", "edit", "1", "--include", "events, merged-ids")
    assert run("destination", "list", "--json").json()[0]["include"] == ["events", "merged-ids"]
    for words in (("1", "--include", "nothing"), ("7", "--include", "events")):
        assert run("destination", "edit", *words).code == WRONG_USE


def test_merges_that_wait_are_in_the_status(run: Run, data: Path) -> None:
    run("init")
    hour = Hour.parse("2026-11-23T13")
    store = ProcessingStore.open(DataFolder(data).processing_database, SystemIds())
    with store.transaction() as connection:
        processing_rows.write_merges(connection, [(9, 5, 100001, hour.number, 1, 1, 1)])
    store.close()
    assert "  2026-11-23T13 organization 100001: 1 merged IDs\n" in run("status").out


def test_inspect_tells_sound_from_broken(run: Run, tmp_path: Path) -> None:
    line = json.dumps({"server_upload_time": "2026-03-01 09:10:00.000000"}) + "\n"
    good = tmp_path / "300001_2026-03-01_9#1.json.gz"
    good.write_bytes(gzip.compress(line.encode() * 3))
    shown = run("inspect", str(good), "--json")
    assert (shown.code, shown.json()["lines"], shown.json()["sound"]) == (FINE, 3, True)
    broken = tmp_path / "300001_2026-03-01_10#1.json.gz"
    broken.write_bytes(good.read_bytes()[:-3])
    assert run("inspect", str(broken)).code == FAILED
    missing = run("inspect", str(tmp_path / "none"))
    assert missing.code == WRONG_USE
    assert "Traceback" not in missing.err


def test_an_accepted_clock_is_said(run: Run) -> None:
    run("init")
    assert "accepted" in run("clock", "accept").out


@pytest.mark.parametrize("words", [("init",), ("status",), ("settings",), ("held", "list")])
def test_a_folder_that_can_not_be_used_is_a_sentence_and_no_traceback(
    run: Run, data: Path, words: tuple[str, ...]
) -> None:
    if words == ("init",):
        data.write_text("a file in the folder's place")
    else:
        assert run("init").code == 0
        for name in ("tailrace.sqlite", "processing.sqlite", "tailrace.toml"):
            (data / name).unlink(missing_ok=True)
            (data / name).mkdir()
    done = run(*words)
    assert done.code == 3, done
    assert done.err.startswith("tailrace: Cannot ")
    assert len(done.err.splitlines()) == 1


def test_a_reader_that_has_enough_makes_no_command_fail(run: Run, data: Path) -> None:
    assert run("init").code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "tailrace", "settings", "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_a_part_that_can_not_start_says_so_in_its_log(run: Run, data: Path) -> None:
    assert run("init").code == 0
    (data / "processing.sqlite").mkdir()
    done = run("run", "processor")
    assert done.code == 3
    said = json.loads(done.err.splitlines()[-1])
    assert said["event"] == "part_ends"
    assert "Cannot use a database of the data folder" in said["reason"]
