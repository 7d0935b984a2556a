"""The least a collector could do: read the body, decode it into types, answer 200; keeps nothing.

Bare ASGI on plain uvicorn. Run as a process by `benchmarks.ingest`, to be compared with the whole
collector.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn

from benchmarks.served import listen, obey
from tailrace.upload import Upload

Message = dict[str, Any]

_decode = msgspec.json.Decoder(Upload).decode


async def application(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer every request with the number of its events."""
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    upload = _decode(b"".join(parts))
    answer = b'{"code":200,"events_ingested":%d}' % len(upload.events)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def main() -> None:
    """Serve until the parent says stop."""
    server = uvicorn.Server(
        uvicorn.Config(
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
            timeout_graceful_shutdown=2,
        )
    )

    def stop() -> None:
        server.should_exit = True

    obey(stop)
    server.run([listen()])


if __name__ == "__main__":
    main()
