"""A child's side of a measured server: uvicorn as the collector runs it, and its CPU on request.

The child prints the port that it listens on. The parent then writes `cpu`, which is answered with
the CPU seconds so far, or `stop`.
"""

from __future__ import annotations

import asyncio
import cProfile
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import uvicorn

BACKLOG = 512
_STOP_SECONDS = 2

Application = Callable[..., Awaitable[None]]
Opened = AbstractAsyncContextManager[Application]


def serve(opened: Opened, profile: Path | None = None) -> None:
    """Serve on a free loopback port until the parent says stop or ends."""
    if profile is None:
        _run(opened)
        return
    profiler = cProfile.Profile()
    profiler.runcall(_run, opened)
    profiler.dump_stats(profile)


def _run(opened: Opened) -> None:
    with asyncio.Runner(loop_factory=_configuration(None).get_loop_factory()) as runner:
        runner.run(_serve(opened))


async def _serve(opened: Opened) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    async with opened as application:
        server = uvicorn.Server(_configuration(application))
        threading.Thread(target=_obey, args=(server,), daemon=True).start()
        print(listening.getsockname()[1], flush=True)
        await server.serve([listening])


def _configuration(application: Application | None) -> uvicorn.Config:
    """Return the settings of uvicorn that every measured server shares."""
    return uvicorn.Config(
        application or "none",
        http="httptools",
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _obey(server: uvicorn.Server) -> None:
    for line in sys.stdin:
        if line != "cpu\n":
            break
        print(time.process_time(), flush=True)
    server.should_exit = True
