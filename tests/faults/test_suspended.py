"""Real parts that are stopped in the middle of their work, while another one starts, and go on."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.state.database import open_database
from tailrace.state.delivery import Capabilities
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.ledger import Ledger
from tailrace.state.secrets import Secrets
from tests.faults.bucket import Bucket
from tests.faults.life import Life, shrink
from tests.faults.running import Running, make_folder, stored, wait_for
from tests.faults.story import end_hour, pass_seconds, post

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""Real processes start, under strace, which takes seconds."""

REQUESTS = 5
Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; see scripts/debian-packages")
        pytest.skip("strace is not installed")
    started: list[Running] = []

    def start_one(folder: DataFolder, part: str, *tracing: str) -> Running:
        started.append(Running(folder, part, *tracing))
        return started[-1]

    yield start_one
    for running in started:
        running.stop()


def is_stopped(process: int) -> bool:
    """Say whether SIGSTOP holds the process; one that is traced shows a stop of its own."""
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return state in "tT"


def refused(start: Start, folder: DataFolder, part: str) -> None:
    """Start another instance of a part, which must say who holds the lock, and end."""
    another = start(folder, part)
    assert another.process.wait(60) == 3
    (reason,) = another.reasons()
    assert "another process holds" in reason


def test_a_collector_stopped_in_the_middle_of_a_group_keeps_its_partition_and_answers(
    tmp_path: Path, start: Start
) -> None:
    folder, api_key = make_folder(tmp_path / "data")
    collector = start(
        folder,
        "collector",
        "--trace=fdatasync",
        "--inject=fdatasync:signal=SIGSTOP:when=3",
        f"--trace-path={folder.log / '1' / '00000000000000000000.log'}",
    )
    process = collector.wait_until_up()
    answers = [collector.post(api_key, request) for request in range(2)]
    late: list[int] = []
    waiting = threading.Thread(target=lambda: late.append(collector.post(api_key, 2, 120)))
    waiting.start()
    wait_for(lambda: "SIGSTOP" in collector.trace_path.read_text() and is_stopped(process))
    refused(start, folder, "collector")
    assert not late
    os.kill(process, signal.SIGCONT)
    waiting.join()
    assert answers + late == [200] * 3
    # It has not looked at the keys for long, and says 503 until it has.
    wait_for(lambda: collector.post(api_key, 3) == 200)
    collector.stop()
    assert stored(folder) == [0, 1, 2, 3]


def lines_and_accepted(folder: DataFolder) -> tuple[int, int]:
    """Return how many lines have chunks, and how many events were accepted."""
    with closing(sqlite3.connect(folder.processing_database)) as connection:
        (lines,) = connection.execute("SELECT sum(lines) FROM chunk").fetchone()
        (accepted,) = connection.execute("SELECT sum(accepted) FROM project_hour").fetchone()
    return lines, accepted


def test_a_processor_stopped_in_a_checkpoint_commits_nothing_once_another_took_over(
    tmp_path: Path, start: Start
) -> None:
    folder, api_key = make_folder(tmp_path / "data")
    collector = start(folder, "collector")
    collector.wait_until_up()
    assert [collector.post(api_key, n) for n in range(REQUESTS)] == [200] * REQUESTS
    collector.stop()
    pack = folder.packs / ".00000001-00000001.pack.tmp"
    stalled = start(
        folder,
        "processor",
        "--trace=rename",
        "--inject=rename:signal=SIGSTOP:when=1",
        f"--trace-path={pack}",
    )
    process = stalled.wait_until_up()
    wait_for(lambda: has_processed(stalled))
    # A stop commits what is open; the signal comes between the pack and the commit.
    os.kill(process, signal.SIGTERM)
    wait_for(lambda: stalled.trace_path.exists() and "SIGSTOP" in stalled.trace_path.read_text())
    refused(start, folder, "processor")

    (folder.path / "processing.lock").unlink()
    after = start(folder, "processor")
    wait_for(lambda: has_processed(after))
    after.stop()
    assert after.process.returncode == 0
    assert lines_and_accepted(folder) == (REQUESTS, REQUESTS)

    os.kill(process, signal.SIGCONT)
    assert stalled.process.wait(60) == 3
    (reason,) = stalled.reasons()
    assert "Another processor took over" in reason
    assert lines_and_accepted(folder) == (REQUESTS, REQUESTS)


def has_processed(processor: Running) -> bool:
    """Say whether a processor has taken all requests, committed or not."""
    assert processor.process.poll() is None, processor.errors()
    beat = processor.beat()
    return beat is not None and beat.counters["processed_entries"] >= REQUESTS


class S3:
    """As much of a store as one exporter needs; it can stop whoever puts, before it answers.

    It stops the process while the ledger is locked, so that none of its threads holds that lock:
    nobody could write before the process goes on, and the test is of its deliveries.
    """

    def __init__(self) -> None:
        self.ledger = Path()
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.puts: Counter[tuple[str, int]] = Counter()
        self.stop_process = 0
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                there = self.path in store.objects
                if not there:
                    store.objects[self.path] = body, self.headers["x-amz-meta-tailrace-sha256"]
                status = 412 if there else 200
                store.puts[self.path, status] += 1
                if store.stop_process and status == 200:
                    store.stop()
                self._answer(status)

            def do_HEAD(self) -> None:
                self._answer(200 if self.path in store.objects else 404)

            def _answer(self, status: int) -> None:
                body, sha256 = store.objects.get(self.path, (b"", ""))
                self.send_response(status)
                self.send_header("ETag", '"1"')
                self.send_header("x-amz-meta-tailrace-sha256", sha256)
                length = len(body) if self.command == "HEAD" else 0
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop the process, once and in all its threads."""
        with closing(sqlite3.connect(self.ledger, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            process, self.stop_process = self.stop_process, 0
            if process:
                os.kill(process, signal.SIGSTOP)
                wait_for(lambda: is_stopped(process))
            connection.execute("ROLLBACK")

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def s3() -> Iterator[S3]:
    store = S3()
    yield store
    store.close()


def owe_an_hour(folder: Path, s3: S3) -> Life:
    """Seal an hour, and owe it to a destination at the store."""
    shrink()
    life = Life(folder / "data", Bucket(folder / "bucket"))
    life.initialise()
    life.tick()
    post(life, count(), 2)
    end_hour(life)
    # The second collector's tick lies a moment above the clock.
    pass_seconds(life, 1)
    life.process()
    engine = open_database(life.folder.database)
    secrets = Secrets.open(life.folder.secrets_key, Files(), SystemIds())
    destinations = Destinations(engine, life.clock)
    new = NewDestination(
        project=300001,
        bucket="acme",
        region="us-east-1",
        endpoint_url=s3.url,
        access_key_id="key",
        secret_encrypted=secrets.encrypt("secret"),
    )
    able = Capabilities(conditional_put=True, conditional_complete=True, checksums=True)
    destinations.activate(destinations.add(new).id, able)
    engine.dispose()
    life.end()
    return life


def test_an_exporter_stopped_in_a_delivery_writes_nothing_once_another_has_the_lease(
    tmp_path: Path, start: Start, s3: S3
) -> None:
    life = owe_an_hour(tmp_path, s3)
    folder = life.folder
    s3.ledger = folder.database
    stalled = start(folder, "exporter")
    s3.stop_process = stalled.process.pid
    wait_for(lambda: s3.stop_process == 0 and is_stopped(stalled.process.pid))
    refused(start, folder, "exporter")

    (folder.path / "exporter.lock").unlink()
    after = start(folder, "exporter")
    engine = open_database(folder.database)
    ledger = Ledger(engine, life.clock)
    wait_for(lambda: {run.state for run in ledger.runs()} == {"success"})
    after.stop()
    delivered = ledger.runs()
    os.kill(stalled.process.pid, signal.SIGCONT)
    wait_for(lambda: "export_lease_lost" in stalled.errors())
    assert stalled.process.poll() is None
    assert ledger.runs() == delivered
    engine.dispose()
    # Each object was taken once; whoever came second found it there.
    assert {n for (_, status), n in s3.puts.items() if status == 200} == {1}
    assert sum(status == 412 for _, status in s3.puts) >= 1
