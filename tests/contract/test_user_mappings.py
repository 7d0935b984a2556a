"""Forms on the collector as the service runs it: mapped users get their ids from the processor."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tailrace.accounts.projects import add_project
from tailrace.ids import SystemIds

# The collector is a whole one, with its log and its databases, and so is the processor.
pytestmark = pytest.mark.slow


def request(installation: Any, method: str, path: str, **options: Any) -> tuple[int, bytes]:
    host, port = installation.address
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path, **options)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_mapping_and_an_identify_meet_in_the_look_up(install: Any) -> None:
    installation = install()
    # Any project of the organization may map, and any may ask.
    other = add_project(
        installation.engine, 100001, "Other", ids=SystemIds(), clock=installation.clock
    )
    installation.post({"event_type": "view", "device_id": "phone-1"})
    person = {"device_id": "phone-1", "user_id": "ann@shop"}
    mapping = {"user_id": "ann@shop", "global_user_id": "ann"}
    forms = [("/identify", "identification", person), ("/usermap", "mapping", mapping)]
    for path, field, given in forms:
        query = urlencode({"api_key": installation.api_key, field: json.dumps(given)})
        assert request(installation, "GET", f"{path}?{query}") == (200, b"success")

    with installation.processed() as processed:
        (line,) = processed.lines()
        assert processed.counts()["identifies"] == 1
    both = base64.b64encode(f"{other.api_key}:{other.secret_key}".encode()).decode()
    status, body = request(
        installation,
        "GET",
        "/api/2/usermap?user_ids=ann",
        headers={"Authorization": f"Basic {both}"},
    )

    assert status == 200
    assert json.loads(body) == {
        "ann": {
            "mapped_from": [{"amplitude_id": line["amplitude_id"], "user_id": "ann@shop"}],
            "mapped_to": [],
        }
    }
