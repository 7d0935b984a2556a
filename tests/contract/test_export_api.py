"""The Export API of a collector as the service runs it, over hours that were sealed for real."""

from __future__ import annotations

import base64
import gzip
import http.client
import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.accounts.projects import add_project
from tailrace.clock import SteppedClock
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.ids import SystemIds
from tailrace.settings import CollectSettings, SealSettings
from tests.contract.packages import missing

# Hours are collected, processed and sealed with all their syncs.
pytestmark = pytest.mark.slow

FIRST = Hour.parse("2026-11-23T07")
CLIENT = Path(__file__).with_name("export_client.py")


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def contents(self) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.body)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def installation(install: Callable[..., Any]) -> Any:
    return install(SteppedClock(FIRST.start_micros, 1), seal=SealSettings(partition_bytes=4096))


def ask(installation: Any, first: Hour, last: Hour, secret_key: str | None = None) -> Reply:
    keys = f"{installation.api_key}:{secret_key or installation.secret_key}"
    text = f"start={first.start:%Y%m%dT%H}&end={last.start:%Y%m%dT%H}"
    host, port = installation.address
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        headers = {"Authorization": "Basic " + base64.b64encode(keys.encode()).decode()}
        connection.request("GET", f"/api/2/export?{text}", headers=headers)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, names, answer.read())
    finally:
        connection.close()


def fill(installation: Any, hour: Hour, *names: str) -> None:
    """Send an event of each name in the hour, and let it end."""
    for name in names:
        installation.post({"event_type": name, "device_id": "device-1"})
    installation.end_hour(hour)


def lines(reply: Reply) -> list[str]:
    raws = (gzip.decompress(content) for content in reply.contents().values())
    return [json.loads(line)["event_type"] for raw in raws for line in raw.splitlines()]


def test_the_zip_holds_the_sealed_files_as_they_are(installation: Any) -> None:
    for _ in range(3):
        for _ in range(20):
            event = {"event_type": "noise", "device_id": os.urandom(400).hex()}
            installation.post(event)
        with installation.processed():
            pass
    installation.end_hour(FIRST)
    fill(installation, FIRST.next(), "second")

    reply = ask(installation, FIRST, FIRST.next())

    sealed = [*installation.files(FIRST), *installation.files(FIRST.next())]
    assert len(sealed) > 2
    assert reply.status == 200
    assert reply.headers["x-tailrace-through"] == "20261123T08"
    project = installation.project
    assert reply.contents() == {f"{project}/{path.name}": path.read_bytes() for path in sealed}
    assert f"{project}/{project}_2026-11-23_7#1.json.gz" in reply.contents()
    assert ask(installation, FIRST, FIRST.next()).body == reply.body
    only = ask(installation, FIRST.next(), FIRST.next())
    # `end_hour` has sent one event of its own.
    assert lines(only) == ["In The Next Hour", "second"]


def test_an_hour_that_is_behind_is_not_called_empty(installation: Any) -> None:
    # Nothing is processed yet, not even read.
    installation.post({"event_type": "first", "device_id": "device-1"})
    installation.stop()
    installation.clock.advance(2 * HOUR_MICROS)
    installation.serve()
    installation.post({"event_type": "later", "device_id": "device-1"})

    for last in (FIRST, FIRST.next(), FIRST.plus(40)):
        behind = ask(installation, FIRST, last)
        assert behind.status == 503
        assert b"Hour 2026-11-23T07 is not sealed yet" in behind.body
        assert behind.headers["retry-after"] == "30"

    with installation.processed():
        # Processed and committed, and not sealed; the hour after it is known to be empty.
        assert ask(installation, FIRST, FIRST.next()).status == 503
        empty = ask(installation, FIRST.next(), FIRST.next())
        assert empty.status == 404
        assert b"Raw data files were not found." in empty.body

    with installation.processed() as processed:
        processed.seal()
    whole = ask(installation, FIRST, FIRST.next())
    assert whole.status == 200
    assert lines(whole) == ["first"]


def test_hours_that_are_not_over_are_left_out_and_named(installation: Any) -> None:
    fill(installation, FIRST, "first")
    present = FIRST.next()

    reply = ask(installation, FIRST, FIRST.plus(40))
    assert reply.status == 200
    assert reply.headers["x-tailrace-through"] == "20261123T07"
    assert lines(reply) == ["first"]

    # Alone it has nothing to give, and may have in an hour; before the first event is no data.
    running = ask(installation, present, present)
    assert running.status == 503
    assert int(running.headers["retry-after"]) == 3600 + 30
    assert ask(installation, FIRST.plus(-40), present).status == 200
    assert ask(installation, FIRST.plus(-40), FIRST.previous()).status == 404
    assert ask(installation, present.next(), present.next()).status == 400


def test_a_project_sees_its_own_hours_alone(installation: Any) -> None:
    fill(installation, FIRST, "first")
    other = add_project(
        installation.engine, 100001, "Other", ids=SystemIds(), clock=installation.clock
    )
    own, own_secret = installation.api_key, installation.secret_key
    assert ask(installation, FIRST, FIRST, other.secret_key).status == 403
    installation.api_key, installation.secret_key = other.api_key, other.secret_key
    assert ask(installation, FIRST, FIRST).status == 404
    assert ask(installation, FIRST, FIRST, own_secret).status == 403
    installation.api_key = own
    assert ask(installation, FIRST, FIRST).status == 403


def test_hours_that_are_not_kept_are_named(installation: Any) -> None:
    fill(installation, FIRST, "first")
    fill(installation, FIRST.next(), "second")
    with installation.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE sealed_file SET removed_micros = 1 WHERE hour = ?", (FIRST.number,)
        )
    (gone,) = installation.files(FIRST)
    gone.unlink()

    reply = ask(installation, FIRST, FIRST.next())
    assert reply.status == 410
    assert b"Hour 2026-11-23T07 is not kept here any more" in reply.body
    assert ask(installation, FIRST.next(), FIRST.next()).status == 200


def test_a_file_that_is_lost_or_changed_makes_no_whole_answer(installation: Any) -> None:
    fill(installation, FIRST, "first")
    (path,) = installation.files(FIRST)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(installation, FIRST, FIRST)
    path.write_bytes(whole[:-8])
    for _ in range(2):
        reply = ask(installation, FIRST, FIRST)
        assert reply.status == 500
        assert path.name.encode() in reply.body
        assert b"hour 2026-11-23T07" in reply.body
        path.unlink(missing_ok=True)


def test_more_bytes_than_an_export_may_have_are_refused(install: Callable[..., Any]) -> None:
    collect = CollectSettings(export_bytes_max=500)
    installation = install(SteppedClock(FIRST.start_micros, 1), collect=collect)
    fill(installation, FIRST, "first", "second")

    reply = ask(installation, FIRST, FIRST)

    assert reply.status == 400
    assert b"an export at most 500" in reply.body


def test_a_public_client_reads_what_was_sent(installation: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("amplitude_data_wrapper") is None:
        missing("the clients are not installed; `scripts/extra clients` does it")
    sent = [f"event {number}" for number in range(100)]
    fill(installation, FIRST, *sent)
    path = tmp_path / "export.zip"
    host, port = installation.address
    given = {
        "url": f"http://{host}:{port}",
        "start": "20261123T00",
        "end": "20261123T23",
        "api_key": installation.api_key,
        "secret": installation.secret_key,
        "filename": str(path),
    }

    # In a process of its own: it sets up logging when it is imported.
    subprocess.run([sys.executable, str(CLIENT)], input=json.dumps(given).encode(), check=True)

    got = Reply(200, {}, path.read_bytes())
    assert lines(got) == sent
