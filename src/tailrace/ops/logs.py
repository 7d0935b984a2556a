"""Log output: events on standard error, JSON where it is no terminal. Called by entry points."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from typing import TextIO, cast

import structlog


def configure_logs(part: str) -> None:
    """Send log events of this process to standard error, each with the part's name.

    What libraries log goes the same way, from warnings on.
    """
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor
    if terminal:
        renderer = structlog.dev.ConsoleRenderer()
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            _Named(part),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Patient(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)
    # Their warnings are about what clients send; anybody could fill the disk with them.
    for name in ("uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    threading.excepthook = lambda failed: structlog.get_logger().critical(
        "thread_failed",
        thread=None if failed.thread is None else failed.thread.name,
        exc_info=failed.exc_value,
    )


class _Named:
    """Add the part's name to every event, from whichever thread it comes."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __call__(
        self, logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["part"] = self._part
        return event


class _Patient:
    """A text file that loses what can't be written: a full disk or a closed pipe ends nothing.

    It writes past the file's buffer, which would else keep what failed and fail again at the end.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            left = memoryview(text.encode("utf-8", "backslashreplace"))
            descriptor = self._file.fileno()
            while left:
                left = left[os.write(descriptor, left) :]
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


class _ToStructlog(logging.Handler):
    """Turn a library's log record into an event like our own."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            record.getMessage(),
            library=record.name,
            exc_info=record.exc_info,
        )
