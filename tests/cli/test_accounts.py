"""Organizations, people, projects and keys by the command line, as scripts use it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.passwords import Passwords
from tailrace.accounts.people import account_with_password
from tailrace.accounts.sign_in_links import find_link
from tailrace.clock import SystemClock
from tailrace.demo.surroundings import clean
from tailrace.errors import NotAllowed
from tailrace.ids import SystemIds
from tailrace.state.audit import entries
from tailrace.state.database import open_database

FINE, WRONG_USE, NEEDS_OPERATOR = 0, 2, 3
LONG = "correct horse battery"

Run = Callable[..., Any]

# Each test starts a dozen interpreters, which is what a script does.
pytestmark = pytest.mark.slow


def said_on_stdin(data: Path, text: str, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tailrace", *words],
        env=clean(os.environ) | {"TAILRACE_DATA": str(data)},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def signs_in(engine: Engine, email: str, password: str) -> bool:
    passwords = Passwords(SystemIds())
    return account_with_password(engine, email, password, passwords=passwords) is not None


@pytest.fixture
def engine(run: Run, data: Path) -> Any:
    assert run("init", "--org-name", "Acme", "--email", "ann@acme.example").code == FINE
    opened = open_database(data / "tailrace.sqlite")
    yield opened
    opened.dispose()


def test_people_are_added_given_roles_and_removed(run: Run, data: Path, engine: Engine) -> None:
    listed = run("person", "list", "--json").json()
    assert [(one["email"], one["role"], one["has_password"]) for one in listed] == [
        ("ann@acme.example", "admin", False)
    ]

    words = ("person", "add", "bo@acme.example", "--role", "viewer", "--name", "Bo", "--json")
    added = run(*words).json()
    assert added | {"since": ""} == {
        "org_id": 100001,
        "email": "bo@acme.example",
        "name": "Bo",
        "role": "viewer",
        "has_password": False,
        "since": "",
    }
    assert run("person", "set", "Bo@acme.example", "--role", "manager").code == FINE
    shown = run("person", "list").out
    assert "bo@acme.example   100001        manager  Bo    -" in shown

    removed = run("person", "remove", "bo@acme.example")
    assert "bo@acme.example is no longer in organization 100001." in removed.out
    again = run("person", "remove", "bo@acme.example")
    assert again.code == WRONG_USE
    assert "tailrace person list" in again.err
    last = run("person", "set", "ann@acme.example", "--role", "viewer")
    assert last.code == WRONG_USE
    assert "only admin" in last.err
    bad = run("person", "add", "cy@acme.example", "--role", "owner")
    assert bad.code == WRONG_USE
    assert "viewer, member, manager, admin" in bad.err
    assert {entry.who for entry in entries(engine)} == {"command line"}


def test_a_password_is_read_from_a_pipe_and_printed_nowhere(data: Path, engine: Engine) -> None:
    words = ("person", "add", "bo@acme.example", "--role", "member", "--with-password")
    code, said = said_on_stdin(data, LONG + "\r\nmore lines\n", *words)
    assert (code, LONG in said) == (FINE, False)
    assert signs_in(engine, "bo@acme.example", LONG)

    code, said = said_on_stdin(data, "another long one", "person", "password", "bo@acme.example")
    assert (code, "another" in said) == (FINE, False)
    assert signs_in(engine, "bo@acme.example", "another long one")

    for text, rule in (("", "no password on standard input"), ("short\n", "12 to 1024")):
        code, said = said_on_stdin(data, text, "person", "password", "bo@acme.example")
        assert code == WRONG_USE
        assert rule in said
        assert "Traceback" not in said
    assert signs_in(engine, "bo@acme.example", "another long one")
    code, said = said_on_stdin(data, "", "person", "password", "bo@acme.example", LONG)
    assert code == WRONG_USE


def test_an_invited_person_gets_a_link_that_is_printed_once(
    run: Run, data: Path, engine: Engine
) -> None:
    invited = run("person", "invite", "Ann@acme.example", "--json").json()
    assert invited["email"] == "ann@acme.example"
    first = invited["link"].removeprefix("/join/")
    public = {"TAILRACE_PUBLIC_URL": "https://tailrace.example/"}
    shown = run("person", "invite", "ann@acme.example", **public).out
    (second,) = re.findall(r"link +https://tailrace\.example/join/([0-9a-f]{64})\n", shown)
    assert "valid until  20" in shown
    machine = SystemClock()
    with pytest.raises(NotAllowed):
        find_link(engine, first, machine=machine)
    assert find_link(engine, second, machine=machine).organizations == ("Acme",)
    assert second not in str(entries(engine))
    unknown = run("person", "invite", "nobody@acme.example")
    assert unknown.code == WRONG_USE
    assert "tailrace person add" in unknown.err


def test_a_password_is_asked_for_twice_on_a_terminal_and_not_echoed(
    data: Path, engine: Engine
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tailrace", "person", "password", "ann@acme.example"],
        env=clean(os.environ) | {"TAILRACE_DATA": str(data), "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    # The blank comes once the terminal no longer echoes.
    for asked in (b"Password: ", b"confirmation: "):
        while asked not in said:
            said += os.read(ours, 1000)
        os.write(ours, LONG.encode() + b"\n")
    assert process.wait(60) == FINE
    said += os.read(ours, 1000)
    os.close(ours)
    assert LONG.encode() not in said
    assert b"is set" in said
    assert signs_in(engine, "ann@acme.example", LONG)


def test_several_organizations_are_named_and_kept_apart(run: Run, engine: Engine) -> None:
    rival = run("organization", "add", "--name", "Rival", "--email", "rita@r.example", "--json")
    assert (rival.code, rival.json()["org_id"]) == (FINE, 100002)
    listed = run("organization", "list", "--json").json()
    assert [(one["org_id"], one["name"], one["projects"], one["people"]) for one in listed] == [
        (100001, "Acme", 1, 1),
        (100002, "Rival", 0, 1),
    ]
    unnamed = run("project", "add", "--name", "App")
    assert unnamed.code == WRONG_USE
    assert "--organization; there are 100001 (Acme), 100002 (Rival)" in unnamed.err
    made = run("project", "add", "--name", "App", "--organization", "100002", "--json").json()
    assert made["org_id"] == 100002
    theirs = run("project", "list", "--organization", "100002", "--json").json()
    assert [(one["project_id"], one["api_keys"]) for one in theirs] == [
        (made["project_id"], [made["api_key"]])
    ]
    assert len(run("project", "list", "--json").json()) == 2
    people = run("person", "list", "--organization", "100002", "--json").json()
    assert [one["email"] for one in people] == ["rita@r.example"]
    for words in (("person", "list"), ("project", "list"), ("project", "add", "--name", "x")):
        none = run(*words, "--organization", "7")
        assert none.code == WRONG_USE
        assert "no organization 7" in none.err


def test_keys_are_added_listed_and_revoked(run: Run, engine: Engine) -> None:
    first = run("key", "list", "300001", "--json").json()[0]
    assert first | {"api_key": "", "created_at": ""} == {
        "api_key": "",
        "project_id": 300001,
        "name": None,
        "created_at": "",
        "revoked_at": None,
    }
    second = run("key", "add", "300001", "--name", "iOS app", "--json").json()
    assert second["name"] == "iOS app"
    revoked = run("key", "revoke", first["api_key"])
    assert "within 2 seconds" in revoked.out
    assert "no other API key" not in revoked.out
    listed = run("key", "list", "300001").out
    assert f"{second['api_key']}  iOS app" in listed
    assert run("key", "list", "300001", "--json").json()[0]["revoked_at"] is not None
    assert "receives no events now" in run("key", "revoke", second["api_key"]).out
    again = run("key", "revoke", second["api_key"])
    assert again.code == WRONG_USE
    assert second["api_key"] not in again.err
    renewed = run("key", "renew-secret", "300001", "--json").json()
    assert set(renewed) == {"project_id", "secret_key"}
    for words in (("add", "7"), ("list", "7"), ("renew-secret", "7")):
        assert "no project 7" in run("key", *words).err


def test_a_portfolio_project_is_listed_and_refused_wherever_events_are_meant(
    run: Run, engine: Engine
) -> None:
    run("project", "add", "--name", "App")
    words = ("project", "add-portfolio", "--name", "All", "--project", "300001")
    made = run(*words, "--project", "300002", "--json").json()
    assert (made["project_id"], made["portfolio_of"], made["api_keys"]) == (
        300003,
        [300001, 300002],
        [],
    )
    assert (
        "300003  100001        All         -         300001, 300002" in run("project", "list").out
    )
    new = ("destination", "add", "amazon-s3", "--bucket", "acme-all", "--region", "us-west-2")
    for refused in (
        ("key", "add", "300003"),
        ("project", "set", "300003", "--drop-ip", "on"),
        ("project", "show", "300003"),
        (*new, "--project", "300003"),
        ("backfill", "300003", "--from", "2026-01-02", "--to", "2026-01-02"),
        ("backfill", "300003", "--from", "2026-01-02", "--to", "2026-01-02", "--plan"),
    ):
        done = run(*refused)
        assert done.code == WRONG_USE
        assert "300003 is a portfolio project" in done.err
        assert "can't be exported" in done.err
    fewer = run("project", "set-portfolio", "300003", "--project", "300002", "--json").json()
    assert fewer["portfolio_of"] == [300002]


def test_a_folder_that_is_none_needs_the_operator(run: Run) -> None:
    for words in (
        ("organization", "list"),
        ("person", "list"),
        ("project", "list"),
        ("key", "list", "300001"),
    ):
        done = run(*words)
        assert done.code == NEEDS_OPERATOR
        assert "tailrace init" in done.err
