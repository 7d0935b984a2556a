"""Read a request's body: running limits, gzip with a cap on what comes out, time limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from io import BytesIO
from typing import Any, cast

from isal import isal_zlib

from tailrace.collect import answers
from tailrace.collect.answers import Refused
from tailrace.collect.budget import Share
from tailrace.collect.limits import Limits
from tailrace.collect.patience import Late, Patience

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# One step of decompression: a bomb is found at most this far past the limit.
_STEP_BYTES = 262_144
# A gzip file of incompressible bytes is a little larger than they are.
_GZIP_OVERHEAD_BYTES = 65_536
_GZIP_FORMAT = 31
# The library loses its place in some heads that come in pieces: those with several fields, or with
# a checksum. A part is begun with this much of it, which holds any head but one with a long text.
_GZIP_HEAD_BYTES = 1024
# Who concatenates files has a few; a body of a million empty ones would keep the loop busy.
_GZIP_MEMBERS_MAX = 100
# The library's own types call this class an exception's instance.
_GZIP_BROKEN = cast("type[Exception]", isal_zlib.error)


class Disconnected(Exception):
    """The client went away before its body was complete."""


class Body:
    """One request's body on its way in."""

    def __init__(
        self,
        receive: Receive,
        headers: dict[bytes, bytes],
        limits: Limits,
        patience: Patience,
    ) -> None:
        self.complete = False
        self._receive = receive
        self._headers = headers
        self._limits = limits
        self._patience = patience
        self._deadline: float | None = None

    async def read(self, share: Share, bytes_max: int) -> bytes:
        """Return the whole decompressed body, counted in `share`.

        Raises:
            Refused: 413 over `bytes_max`, 400 for a broken gzip stream or an empty body, 408 for
                a slow client, 415 for an unknown encoding.
            Disconnected: the client is gone.
        """
        body = await self.read_any(share, bytes_max)
        if not body:
            raise Refused(answers.missing_body())
        return body

    async def read_any(self, share: Share, bytes_max: int) -> bytes:
        """Return what `read` does, and also an empty body."""
        encoding = self._headers.get(b"content-encoding", b"").strip().lower()
        if encoding in (b"gzip", b"x-gzip"):
            wire_bytes_max = bytes_max + _GZIP_OVERHEAD_BYTES
        elif encoding in (b"", b"identity"):
            wire_bytes_max = bytes_max
        else:
            raise Refused(answers.unknown_encoding(encoding.decode("latin-1")))
        length = self._headers.get(b"content-length", b"")
        if length.isdigit():
            if int(length) > wire_bytes_max:
                raise Refused(answers.too_large())
            share.will_take(int(length))
        if encoding in (b"gzip", b"x-gzip"):
            return await self._read_gzip(share, bytes_max, wire_bytes_max)
        return await self._read_plain(share, bytes_max)

    async def discard(self) -> None:
        """Read on and forget, so that a client that is still sending can see its answer."""
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            return
        limits = self._limits
        left = limits.discard_bytes_max
        try:
            async with asyncio.timeout(limits.discard_seconds):
                while left > 0 and not self.complete:
                    left -= len(await self._chunk())
        except (TimeoutError, Refused):
            return

    async def _read_plain(self, share: Share, bytes_max: int) -> bytes:
        await share.room()
        first = await self._chunk()
        share.take(len(first))
        if self.complete and len(first) <= bytes_max:
            return first
        # It grows in place and gives its bytes away: joining parts would hold the body twice.
        content = BytesIO()
        size = content.write(first)
        while not self.complete:
            if size > bytes_max:
                raise Refused(answers.too_large())
            await share.room()
            part = await self._chunk()
            size += content.write(part)
            share.take(len(part))
        if size > bytes_max:
            raise Refused(answers.too_large())
        return content.getvalue()

    async def _read_gzip(self, share: Share, bytes_max: int, wire_bytes_max: int) -> bytes:
        content = BytesIO()
        size = wire_bytes = 0
        members = 0
        member = None
        held = b""
        try:
            while not self.complete:
                await share.room()
                wire = await self._chunk()
                wire_bytes += len(wire)
                if wire_bytes > wire_bytes_max:
                    raise Refused(answers.too_large())
                share.take(len(wire))
                rest, held, part = held + wire, b"", b""
                # A full step may have left output inside though all input is used.
                while rest or (member and len(part) == _STEP_BYTES and not member.eof):
                    if member is None or member.eof:
                        if len(rest) < _GZIP_HEAD_BYTES and not self.complete:
                            held = rest
                            break
                        members += 1
                        if members > _GZIP_MEMBERS_MAX:
                            raise Refused(
                                answers.invalid_json("The gzip stream has too many parts.")
                            )
                        member = isal_zlib.decompressobj(wbits=_GZIP_FORMAT)
                    part = member.decompress(rest, _STEP_BYTES)
                    rest = member.unused_data if member.eof else member.unconsumed_tail
                    size += content.write(part)
                    share.take(len(part))
                    if size > bytes_max:
                        raise Refused(answers.too_large())
                    await share.room()
                share.take(-len(wire))
        except _GZIP_BROKEN as error:
            raise Refused(answers.invalid_json("The gzip stream is broken.")) from error
        if member is not None and not member.eof:
            raise Refused(answers.invalid_json("The gzip stream ends too early."))
        return content.getvalue()

    async def _chunk(self) -> bytes:
        """Return the next bytes; raise `Refused` (408) or `Disconnected`."""
        limits = self._limits
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + limits.body_total_seconds
        deadline = min(now + limits.body_idle_seconds, self._deadline)
        try:
            message = await self._patience.wait(self._receive, deadline)
        except Late as error:
            raise Refused(answers.too_slow()) from error
        if message["type"] != "http.request":
            raise Disconnected
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk
