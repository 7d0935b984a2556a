"""Target `wire`: bytes of a connection, cut anywhere, against the real HTTP server.

The connection is one end of a socket pair, so that the harness sees when the server is done.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from functools import cache
from itertools import pairwise
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from fuzz.choices import Choices
from fuzz.claims import NotJson, claim, strict_json
from fuzz.request import Place
from tailrace.collect import runtime
from tailrace.collect.limits import Limits

# Small, and without the thread for large bodies, so that being done is seen from the loop alone.
LIMITS = Limits(httpapi_bytes_max=4096, batch_bytes_max=65_536, events_max=4)
# 431 is refused by the connection itself, before there is a request.
ANSWERS = frozenset({200, 400, 405, 413, 414, 415, 431})
_PARTS_MAX = 6
_WIRE_MAX = 100_000
# Rounds of the loop without a step forward, after which nothing more will come.
_QUIET_ROUNDS = 8
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n:]+: [^\r\n]*\r\n)*)\r\n")
_TEXT = re.compile(rb"^content-type: text/plain; charset=utf-8\r$", re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.MULTILINE)
# So that an input needs no bytes of an upload's own body.
BODY = b'{"api_key":"k","events":[{"event_type":"a","user_id":"user-1"}]}'
_SHORT = {b"@B": BODY, b"@N": b"%d" % len(BODY), b"@P": b"POST /2/httpapi HTTP/1.1\r\nhost: x\r\n"}


# They warn of every request that is no HTTP, and of every form that is none.
for _name in ("uvicorn.error", "python_multipart"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def target(data: bytes) -> None:
    """Send the parts of an input one after the other, and read what comes back."""
    choices = Choices(data)
    cuts = [choices.number(65_536) for _ in range(choices.number(_PARTS_MAX))]
    wire = choices.rest()
    for sign, text in _SHORT.items():
        wire = wire.replace(sign, text)
    wire = wire[:_WIRE_MAX]
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    parts = [wire[start:end] for start, end in pairwise(places)]
    there = _place(LIMITS)
    there.records.clear()
    received = there.loop.run_until_complete(_talk(there, parts))
    statuses = _statuses(received)
    claim(set(statuses) <= ANSWERS, f"answered {statuses}: {received[:200]!r}")
    claim(statuses.count(200) - received.count(b'{"code":200}') == len(there.records), "200 lied")
    budget = there.collector.budget
    claim(budget.bytes_used == 0 and budget.waiting == 0, "bytes in flight are not given back")


def _statuses(received: bytes) -> list[int]:
    """Return the statuses of all answers; whatever is between them is a finding."""
    statuses: list[int] = []
    while received:
        head = _HEAD.match(received)
        claim(head is not None, f"no HTTP answer: {received[:200]!r}")
        assert head is not None
        if head[1] == b"100":
            received = received[head.end() :]
            continue
        length = _LENGTH.search(head[2])
        claim(length is not None, "an answer without a length")
        assert length is not None
        until = head.end() + int(length[1])
        body = received[head.end() : until]
        # Who asks with HEAD gets the head alone.
        if body.startswith(b"HTTP/1.1 ") or not body:
            until = head.end()
        elif _TEXT.search(head[2]):
            claim((body == b"success") == (head[1] == b"200"), "a text lies about success")
        else:
            try:
                claim(strict_json(body)["code"] == int(head[1]), "code is not the status")
            except NotJson as error:
                claim(False, f"an answer is no JSON: {error}")
        statuses.append(int(head[1]))
        received = received[until:]
    return statuses


async def _talk(there: Place, parts: list[bytes]) -> bytes:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    state = ServerState()
    config = _config(there)
    transport, _ = await loop.connect_accepted_socket(
        lambda: runtime._small_reads(config=config, server_state=state, app_state={}, _loop=loop),
        theirs,
    )
    received = b""
    try:
        for part in parts:
            await loop.sock_sendall(ours, part)
            received += await _quiet(there, state, ours)
        ours.shutdown(socket.SHUT_WR)
        received += await _quiet(there, state, ours)
    except (BrokenPipeError, ConnectionResetError):
        received += await _quiet(there, state, ours)
    finally:
        ours.close()
        transport.close()
        await _quiet(there, state, None)
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
    claim(not state.connections, "a closed connection is still known")
    return received


async def _quiet(there: Place, state: ServerState, ours: socket.socket | None) -> bytes:
    """Let the server work until nothing changes; return what came meanwhile."""
    received = b""
    quiet = 0
    seen: Any = None
    while quiet < _QUIET_ROUNDS:
        await asyncio.sleep(0)
        try:
            part = ours.recv(65_536) if ours is not None else b""
        except (BlockingIOError, ConnectionResetError):
            part = b""
        received += part
        now = (len(state.tasks), state.total_requests, len(state.connections))
        looking = there.keys._next_look is not None or there.keys._one_at_a_time.locked()
        quiet = 0 if part or looking or now != seen else quiet + 1
        seen = now
    return received


@cache
def _place(limits: Limits) -> Place:
    return Place(limits)


@cache
def _config(there: Place) -> uvicorn.Config:
    config = uvicorn.Config(
        there.collector,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
    config.load()
    return config
