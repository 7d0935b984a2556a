"""Log output as another program reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

HEAD = """
import logging, os, sys, threading
import structlog
from tailrace.ops.logs import configure_logs
configure_logs("collector-1")
"""


def logged(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + script],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_every_line_is_json_with_the_parts_name_whoever_logs() -> None:
    done = logged(
        """
structlog.get_logger().info("ours", number=1)
logging.getLogger("asyncio").error("of a %s", "library")
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
logging.getLogger("python_multipart.multipart").warning("Look-back buffer error")
def fail():
    raise ValueError("in a thread")
thread = threading.Thread(target=fail, name="beats")
thread.start()
thread.join()
"""
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]

    assert [event["event"] for event in events] == ["ours", "of a library", "thread_failed"]
    assert {event["part"] for event in events} == {"collector-1"}
    assert events[1]["library"] == "asyncio"
    assert "ValueError: in a thread" in events[2]["exception"]


def test_a_log_that_nobody_reads_ends_nothing() -> None:
    done = logged(
        """
read, write = os.pipe()
os.dup2(write, 2)
os.close(read)
structlog.get_logger().error("unread")
structlog.get_logger().error("unread")
sys.stdout.write("still here")
""",
        stdout=subprocess.PIPE,
    )

    assert (done.returncode, done.stdout) == (0, "still here")
