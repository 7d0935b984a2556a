"""The operator's endpoints: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tailrace import __version__
from tailrace.ops.metrics import exposition
from tailrace.ops.status import Status


def operator_routes(read_status: Callable[[], Status]) -> list[Route]:
    """Return their routes; `read_status` may block and is called in a thread."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def readyz(request: Request) -> Response:
        status = await run_in_threadpool(read_status)
        down = [part.name for part in status.parts if not part.up]
        missing = sorted({"processor", "exporter"} - {part.name for part in status.parts})
        collecting = any(part.name.startswith("collector") and part.up for part in status.parts)
        ready = collecting and not down and not missing
        content = {"ready": ready, "down": down + missing}
        return JSONResponse(content, 200 if ready else 503)

    async def metrics(request: Request) -> Response:
        status = await run_in_threadpool(read_status)
        return Response(exposition(status), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
