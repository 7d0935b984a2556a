"""`/usermap` and `GET /api/2/usermap` through a real server over a real database."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy.engine import Engine

from tailrace.accounts.projects import add_organization, add_project
from tailrace.app.user_mappings import MappingBook
from tailrace.clock import SystemClock
from tailrace.collect.rates import Rates
from tailrace.collect.usermap import MAPPINGS_MAX
from tailrace.errors import DiskReserve
from tailrace.ids import SystemIds
from tailrace.state.database import open_database, writing
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_view import ProcessingView

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ANN = {"user_id": "ann@shop", "global_user_id": "ann"}


class Place:
    """A collector, the database behind it, and a project's two keys."""

    def __init__(self, folder: Path, serve: Any, **options: Any) -> None:
        self.folder = folder
        self.engine: Engine = open_database(folder / "tailrace.sqlite")
        clock = SystemClock()
        add_organization(self.engine, "Shop", clock=clock)
        made = add_project(self.engine, 100001, "Web", ids=SystemIds(), clock=clock)
        self.api_key, self.secret_key = made.api_key, made.secret_key
        self.room = True
        view = ProcessingView(folder / "processing.sqlite")
        book = MappingBook(self.engine, view, clock, lambda: self.room)
        self.served = serve(mappings=book, **options)
        self.served.accounts.keys[made.api_key] = self.served.accounts.keys.pop(
            next(iter(self.served.accounts.keys))
        )
        self.served.accounts.number += 1

    def send(self, mapping: Any, way: str = "form", **fields: str) -> Any:
        text = mapping if isinstance(mapping, str) else json.dumps(mapping)
        form = urlencode({"api_key": self.api_key, "mapping": text, **fields})
        match way:
            case "query":
                return self.served.request("GET", f"/usermap?{form}")
            case "posted query":
                return self.served.request("POST", f"/usermap?{form}")
        return self.served.post(form.encode(), "/usermap", FORM)

    def ask(self, *users: Any, api_key: str = "", secret_key: str = "") -> Any:
        return self.ask_form(urlencode({"user_ids": json.dumps(users)}), api_key, secret_key)

    def ask_form(self, form: str, api_key: str = "", secret_key: str = "") -> Any:
        both = f"{api_key or self.api_key}:{secret_key or self.secret_key}"
        header = {"Authorization": "Basic " + base64.b64encode(both.encode()).decode()}
        return self.served.request("GET", f"/api/2/usermap?{form}", headers=header)

    def know(self, **amplitude_ids: int) -> None:
        store = ProcessingStore.open(self.folder / "processing.sqlite", SystemIds())
        store.connection.executemany(
            "INSERT INTO user VALUES (100001, ?, ?)", list(amplitude_ids.items())
        )
        store.connection.commit()
        store.close()


@pytest.fixture
def place(tmp_path: Path, serve: Any) -> Iterator[Place]:
    made = Place(tmp_path, serve)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("way", ["form", "query", "posted query"])
def test_a_mapping_is_found_from_both_ends(place: Place, way: str) -> None:
    reply = place.send([ANN, {"user_id": 12345, "global_user_id": "ann"}], way)

    assert (reply.status, reply.body) == (200, b"success")
    assert reply.headers["access-control-allow-origin"] == "*"
    asked = place.ask("ann", "ann@shop", "nobody")
    assert (asked.status, asked.headers["content-type"]) == (200, "application/json")
    assert asked.json == {
        "ann": {
            "mapped_from": [
                {"amplitude_id": None, "user_id": "12345"},
                {"amplitude_id": None, "user_id": "ann@shop"},
            ],
            "mapped_to": [],
        },
        "ann@shop": {"mapped_from": [], "mapped_to": [{"amplitude_id": None, "user_id": "ann"}]},
        "nobody": {"mapped_from": [], "mapped_to": []},
    }
    assert place.served.records == []


def test_amplitude_ids_are_those_of_the_processor(place: Place) -> None:
    place.send(ANN)
    place.know(ann=100_000_000_007)
    assert place.ask("ann@shop").json["ann@shop"]["mapped_to"] == [
        {"amplitude_id": 100_000_000_007, "user_id": "ann"}
    ]


def test_the_last_mapping_of_a_user_counts(place: Place) -> None:
    def mapped_to() -> list[str]:
        found = place.ask("ann@shop").json["ann@shop"]["mapped_to"]
        return [one["user_id"] for one in found]

    place.send([{**ANN, "global_user_id": "first"}, {**ANN, "global_user_id": "second"}])
    assert mapped_to() == ["second"]
    place.send(ANN)
    assert mapped_to() == ["ann"]
    place.send([{"user_id": "ann@shop", "unmap": True}])
    assert mapped_to() == []
    place.send([{"user_id": "ann@shop", "unmap": True}, ANN])
    assert mapped_to() == ["ann"]
    place.send([ANN, {"user_id": "ann@shop", "unmap": "true"}])
    assert mapped_to() == []


def test_a_success_is_in_the_database_of_a_process_that_starts_then(place: Place) -> None:
    place.send(ANN)
    again = open_database(place.folder / "tailrace.sqlite")
    with again.connect() as connection:
        rows = connection.exec_driver_sql("SELECT user_id, global_user_id FROM user_mapping").all()
    again.dispose()
    assert [tuple(row) for row in rows] == [("ann@shop", "ann")]


REFUSED: list[tuple[str, Any, str]] = [
    ("nothing", "", "missing_event"),
    ("no json", "{", "missing_event: mapping is not valid JSON in UTF-8."),
    ("no object", "[1]", "missing_event: mapping must be a JSON object or a list of objects."),
    ("no user", {"global_user_id": "ann"}, "invalid_event_field: mapping 0 has no user_id."),
    (
        "neither",
        [ANN, {"user_id": "ann"}],
        "invalid_event_field: mapping 1 has neither global_user_id nor unmap: true.",
    ),
    (
        "unmap is false",
        {"user_id": "ann", "unmap": "false"},
        "invalid_event_field: mapping 0 has neither global_user_id nor unmap: true.",
    ),
    (
        "both",
        {**ANN, "unmap": True},
        "invalid_event_field: mapping 0 has both global_user_id and unmap; send one of them.",
    ),
    (
        "itself",
        {"user_id": "ann", "global_user_id": "ann "},
        "invalid_event_field: global_user_id of mapping 0 must not be the user_id itself.",
    ),
    (
        "a placeholder",
        {"user_id": "ann", "global_user_id": "Null"},
        "invalid_event_field: global_user_id of mapping 0 must name somebody: text that is not "
        "empty, and no placeholder such as null.",
    ),
    (
        "a key twice",
        '{"user_id":"ann","user_id":"bob","global_user_id":"x"}',
        "invalid_event_field: user_id of mapping 0 is there more than once.",
    ),
]


@pytest.mark.parametrize(
    ("mapping", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_bad_mapping_is_told_and_none_of_the_request_is_stored(
    place: Place, mapping: Any, sentence: str
) -> None:
    reply = place.send(mapping)
    assert (reply.status, reply.body.decode()) == (400, sentence)
    assert place.ask("ann").json == {"ann": {"mapped_from": [], "mapped_to": []}}


def test_an_unknown_key_is_told_in_the_known_word(place: Place) -> None:
    form = urlencode({"api_key": "unknown", "mapping": json.dumps(ANN)}).encode()
    reply = place.served.post(form, "/usermap", FORM)
    assert (reply.status, reply.body) == (400, b"invalid_api_key")


def test_two_thousand_mappings_are_one_request(place: Place) -> None:
    mappings = [{"user_id": f"user-{n}", "global_user_id": "all"} for n in range(MAPPINGS_MAX)]
    assert place.send(mappings).status == 200
    assert len(place.ask("all").json["all"]["mapped_from"]) == MAPPINGS_MAX
    assert place.send([*mappings, ANN]).status == 413


def test_more_than_an_answer_holds_is_a_413(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.accounts.mappings.MAPPED_MAX", 2)
    mappings = [{"user_id": f"user-{n}", "global_user_id": "all"} for n in range(3)]
    place.send(mappings)
    assert place.ask("all").status == 413
    assert place.ask("user-1").status == 200


def test_only_both_keys_of_one_project_read_mappings(place: Place) -> None:
    clock = SystemClock()
    other = add_project(place.engine, 100001, "Other", ids=SystemIds(), clock=clock)
    wrong = [
        place.ask("ann", api_key="unknown"),
        place.ask("ann", secret_key="wrong"),
        place.ask("ann", secret_key=place.api_key),
        place.ask("ann", secret_key=other.secret_key),
        place.served.request("GET", "/api/2/usermap?user_ids=ann"),
    ]
    for header in (
        "Basic",
        "Basic !",
        "Basic " + "A" * 4000,
        "Bearer x",
        "Basic AA==",
        "Basic /w==",
    ):
        headers = {"Authorization": header}
        wrong.append(place.served.request("GET", "/api/2/usermap?user_ids=ann", headers=headers))
    for reply in wrong:
        assert (reply.status, reply.body) == (403, b"Invalid API Key")
        assert reply.headers["content-type"].startswith("text/plain")


def test_who_is_asked_for_is_a_list_or_one(place: Place) -> None:
    assert place.ask_form("user_ids=ann").json == {"ann": {"mapped_from": [], "mapped_to": []}}
    assert list(place.ask(12345, "é").json) == ["12345", "é"]
    for form in (
        "",
        "user_ids=",
        "user_ids=[]",
        "user_ids=[null]",
        "user_ids=%5B%22%5Cud800%22%5D",
    ):
        reply = place.ask_form(form)
        assert reply.status == 400
        assert b"user_ids" in reply.body
    assert place.ask(*map(str, range(100))).status == 200
    assert place.ask(*map(str, range(101))).status == 400
    assert place.ask_form("user_ids=%5B").status == 400
    assert place.ask_form("user_ids=%ff").status == 400


def test_users_are_found_by_the_ids_with_which_they_were_mapped(place: Place) -> None:
    long = "x" * 1023 + " yz"
    place.send({"user_id": f" {long}", "global_user_id": " ann "})

    found = place.ask(f"{long} ", " ann").json

    (to,) = found[f"{long} "]["mapped_to"]
    (source,) = found[" ann"]["mapped_from"]
    assert (to["user_id"], source["user_id"]) == ("ann", "x" * 1023)


def test_other_methods_are_a_405(place: Place) -> None:
    assert place.served.request("PUT", "/usermap").headers["allow"] == "POST, GET, OPTIONS"
    reply = place.served.request("POST", "/api/2/usermap")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, OPTIONS")


def test_an_organization_that_sends_too_many_is_throttled(tmp_path: Path, serve: Any) -> None:
    place = Place(tmp_path, serve, rates=Rates({}))
    mappings = [{"user_id": f"user-{n}", "global_user_id": "all"} for n in range(1500)]
    place.room = False
    assert place.send(mappings).status == 503
    place.room = True
    assert place.send(mappings).status == 200
    reply = place.send(ANN)
    assert (reply.status, reply.body) == (429, b"throttled")
    assert place.ask("ann").json["ann"]["mapped_from"] == []
    place.engine.dispose()


def test_a_full_disk_takes_no_mapping(place: Place) -> None:
    place.room = False
    reply = place.send(ANN)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert b"disk" in reply.body
    place.room = True
    assert place.ask("ann").json["ann"]["mapped_from"] == []
    with pytest.raises(DiskReserve):
        MappingBook(
            place.engine, ProcessingView(tmp := place.folder / "none"), SystemClock(), lambda: False
        ).store(100001, [])
    assert not tmp.exists()


def test_a_mapping_waits_for_another_writer_and_holds_up_no_events(place: Place) -> None:
    replies: list[Any] = []
    with writing(place.engine):
        waiting = threading.Thread(target=lambda: replies.append(place.send(ANN)))
        waiting.start()
        event = {"event_type": "e", "user_id": "user-1"}
        upload = {"api_key": place.api_key, "events": [event]}
        assert place.served.post(upload).status == 200
        assert replies == []
    waiting.join(20)
    assert [reply.status for reply in replies] == [200]


def test_a_database_that_fails_is_no_success(place: Place) -> None:
    with writing(place.engine) as connection:
        connection.exec_driver_sql("DROP TABLE user_mapping")
    reply = place.send(ANN)
    assert reply.status == 500
    assert place.served.bytes_in_flight == 0
