"""`Outflow`: an answer whose body is too long to be held; it is sent piece by piece.

Called by `server`; the bytes come from whoever makes the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import msgspec

from tailrace.errors import Transient

# A client reads at least this on average, after a time to begin in; what the next piece takes to
# come is not counted against it. At the least rate the longest export takes 19 hours; a slower
# client asks for fewer hours at once.
BYTES_PER_SECOND_MIN = 65_536
BEGIN_SECONDS = 60.0

# Ends the connection in the middle of an answer; ASGI has no message for that.
CUT = "tailrace.response.cut"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Pieces(Protocol):
    """The bytes of a body. `close` is called once, whatever happens, and waits for nothing."""

    async def next(self) -> bytes:
        """Return the next bytes, or none at the end; any exception ends the answer."""
        ...

    def close(self) -> None:
        """Let go of what the bytes come from."""
        ...


class Outflow(msgspec.Struct, frozen=True):
    """A 200 with a body of `length` bytes."""

    headers: tuple[tuple[bytes, bytes], ...]
    length: int
    pieces: Pieces

    @property
    def status(self) -> int:
        """The status, as an `Answer` has one."""
        return 200


class ClientGone(OSError):
    """The client closed the connection, or was taken off it."""


class TooSlow(Transient):
    """The client does not read, or reads too slowly."""


async def pour(outflow: Outflow, send: Send) -> None:
    """Send the whole body, never more than a piece ahead of what the client reads.

    What can't be sent whole is cut: the connection ends short of the length that was announced.

    Raises:
        ClientGone: the connection ended before the body did.
        TooSlow: the client was cut off.
        Exception: whatever `pieces` raised; the client was cut off, too.
    """
    headers = [*outflow.headers, (b"content-length", b"%d" % outflow.length)]
    now = asyncio.get_running_loop().time
    # When the client would have to be done with what it was sent.
    due = now() + BEGIN_SECONDS
    sent = 0
    try:
        await send({"type": "http.response.start", "status": outflow.status, "headers": headers})
        asked = now()
        while piece := await outflow.pieces.next():
            due += now() - asked
            async with asyncio.timeout_at(due):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += len(piece)
            due += len(piece) / BYTES_PER_SECOND_MIN
            asked = now()
        if sent != outflow.length:
            raise RuntimeError(f"The body has {sent} bytes, {outflow.length} were announced.")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError as error:
        await send({"type": CUT})
        raise TooSlow(f"The client read {sent} bytes too slowly.") from error
    except BaseException:
        await send({"type": CUT})
        raise
    finally:
        outflow.pieces.close()
