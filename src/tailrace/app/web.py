"""The web part: health and metrics, and later the pages, in one process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tailrace.app.part import PartContext
from tailrace.ops.status import StatusReader
from tailrace.ops.web import operator_app
from tailrace.state.database import open_database

STOP_POLL_SECONDS = 0.2
GRACE_SECONDS = 2


def run(context: PartContext, listening: socket.socket) -> None:
    """Serve until the part is stopped."""
    engine = open_database(context.folder.database)
    reader = StatusReader(context.folder, engine, context.clock)
    config = uvicorn.Config(
        operator_app(reader.read),
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)

    async def until_stopped() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not context.stop.is_set() and not serving.done():
            await asyncio.sleep(STOP_POLL_SECONDS)
        server.should_exit = True
        await serving

    context.start_beating(dict)
    try:
        asyncio.run(until_stopped())
    finally:
        context.end()
        engine.dispose()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the part."""
        yield
