"""The web part: the pages, health and metrics, in one process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from tailrace.accounts.passwords import Passwords
from tailrace.app.part import PartContext
from tailrace.app.recent import RecentEvents
from tailrace.clock import SystemClock
from tailrace.ops.heartbeats import read_heartbeats
from tailrace.ops.status import StatusReader
from tailrace.state.database import open_database
from tailrace.web.application import application
from tailrace.web.attempts import Attempts
from tailrace.web.site import Site
from tailrace.web.static_files import StaticFiles

STOP_POLL_SECONDS = 0.2
GRACE_SECONDS = 2


def run(context: PartContext, listening: socket.socket) -> None:
    """Serve until the part is stopped."""
    engine = open_database(context.folder.database)
    recent = RecentEvents(context.folder.log)
    site = Site(
        folder=context.folder,
        engine=engine,
        settings=context.settings,
        clock=context.clock,
        machine_clock=SystemClock(),
        ids=context.ids,
        passwords=Passwords(context.ids),
        attempts=Attempts(SystemClock()),
        recent=recent,
        static=StaticFiles(),
        read_status=StatusReader(context.folder, engine, context.clock).read,
        collect_url=lambda: _collect_url(context),
    )
    context.start_beating(dict)
    try:
        asyncio.run(_serve(context, application(site), listening))
    finally:
        context.end()
        recent.close()
        engine.dispose()


async def _serve(context: PartContext, app: ASGIApp, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose word counts is decided by `trusted_proxies` alone.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not context.stop.is_set() and not serving.done():
        await asyncio.sleep(STOP_POLL_SECONDS)
    server.should_exit = True
    await serving


def _collect_url(context: PartContext) -> str:
    for beat in read_heartbeats(context.folder.run):
        if beat.part == "serve":
            return beat.facts.get("collect", "")
    return ""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the part."""
        yield
