"""Lives in processes of their own, whose system calls fail. Run by `system_calls.py`.

Everything is imported once; each line of standard input, a job, is then a fork, which waits to be
traced and stopped before it begins. Its answers and failures go into the file `told`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec
import structlog

from tests.faults import story
from tests.faults.bucket import Answers, Bucket
from tests.faults.life import Life, shrink

# Where only descendants may be traced, a process may name others that may: any.
_PR_SET_PTRACER = 0x59616D61
_ANY = ctypes.c_ulong(-1)


class Job(msgspec.Struct, frozen=True):
    """A life to live: its data folder and bucket, and where to tell of it."""

    data: str
    bucket: str
    told: str


class Told(msgspec.Struct, frozen=True):
    """What a life came to: answers, what parts ended with, its last time, and what it retired."""

    answers: Answers
    failures: list[tuple[str, str, str]]
    now: int
    retired: set[int]


def main() -> None:
    """Fork for each job and say the child's number; at the end of input, end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    shrink()
    # Imported late by the product, but the same for every life.
    import alembic.command
    import alembic.config  # noqa: F401

    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _live(job)
                code = 0
            finally:
                os._exit(code)
        os.waitpid(child, os.WUNTRACED)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _live(job: Job) -> None:
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    life = Life(Path(job.data), Bucket(Path(job.bucket)))
    story.begin(life)
    story.live(life)
    story.settle(life)
    life.end()
    failures = [
        (failure.part, type(failure.error).__name__, str(failure.error))
        for failure in life.failures
    ]
    told = Told(life.answers, failures, life.clock.now_micros(), life.retired)
    Path(job.told).write_bytes(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
