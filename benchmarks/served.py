"""A child's side of a measured server: uvicorn as the collector runs it, and its CPU on request.

The parent writes `cpu` or `stop` to standard input; the answers go to standard output as one line
each, after the port of the listening socket.
"""

from __future__ import annotations

import cProfile
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn

BACKLOG = 512
_STOP_SECONDS = 2

Application = Callable[..., Awaitable[None]]


def serve(application: Application, profile: Path | None = None) -> None:
    """Serve on a free loopback port until the parent says stop or ends."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    server = uvicorn.Server(configuration(application))
    threading.Thread(target=_obey, args=(server,), daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    if profile is None:
        server.run([listening])
        return
    profiler = cProfile.Profile()
    profiler.runcall(server.run, [listening])
    profiler.dump_stats(profile)


def configuration(application: Application) -> uvicorn.Config:
    """Return the settings of uvicorn that every measured server shares."""
    return uvicorn.Config(
        application,
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
        if line == "cpu\n":
            print(time.process_time(), flush=True)
        else:
            break
    server.should_exit = True
