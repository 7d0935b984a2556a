"""The faults that the proxy's rules play: each is a function of one request."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.export.faults.exchange import Answer, Exchange, Headers
from tests.export.faults.proxy import Fault

ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n{blanks}'
    "<Error><Code>{code}</Code><Message>Told by a fault.</Message></Error>"
)
HTML = b"<html><head><title>503</title></head><body><h1>No server is available</h1></body></html>"
HELD_SECONDS = 60


def lose_answer(exchange: Exchange) -> None:
    """Carry it out; close before the first byte of the answer."""
    exchange.pass_on()
    exchange.close()


def lose_request(exchange: Exchange) -> None:
    """Close as soon as the head is there."""
    exchange.close()


def lose_half_the_body(exchange: Exchange) -> None:
    """Close when half of the body has come."""
    sizes = [int(text) for name, text in exchange.headers if name.lower() == "content-length"]
    exchange.read(max(sizes, default=0) // 2)
    exchange.close()


def cut_headers(exchange: Exchange) -> None:
    """Carry it out; close after half of the answer's head."""
    data = exchange.bytes_of(exchange.pass_on())
    exchange.send(data[: data.index(b"\r\n\r\n") // 2])
    exchange.close()


def cut_before(text: bytes) -> Fault:
    """Carry it out; close before these bytes of the answer's head."""

    def play(exchange: Exchange) -> None:
        data = exchange.bytes_of(exchange.pass_on())
        exchange.send(data[: data.lower().index(text)])
        exchange.close()

    return play


def cut_body(exchange: Exchange) -> None:
    """Carry it out; close after half of the answer's body, or just before its head's end."""
    answer = exchange.pass_on()
    data = exchange.bytes_of(answer)
    exchange.send(data[: len(data) - max(1, len(answer.body) // 2)])
    exchange.close()


def reset(exchange: Exchange) -> None:
    """Take the request, answer with a reset."""
    exchange.read()
    exchange.reset()


def half_close(exchange: Exchange) -> None:
    """Take the request, answer with a FIN alone."""
    exchange.read()
    exchange.half_close()


def early(status: int, code: str) -> Fault:
    """Refuse before the body has come, and close."""

    def play(exchange: Exchange) -> None:
        exchange.give(_error(status, code, [], 0))
        exchange.close()

    return play


def refuse(status: int, code: str, headers: Headers | None = None) -> Fault:
    """Answer with S3's error in the server's stead."""

    def play(exchange: Exchange) -> None:
        exchange.read()
        exchange.give(_error(status, code, headers or [], 0))

    return play


def say(status: int, body: bytes, content_type: str = "text/html") -> Fault:
    """Answer as something on the way would."""

    def play(exchange: Exchange) -> None:
        exchange.read()
        exchange.give(Answer(status, [("Content-Type", content_type)], body))

    return play


def error_inside_200(*, carried_out: bool, blanks: int = 0, declared: bool = True) -> Fault:
    """Answer 200 with an error as its body, as Complete may."""

    def play(exchange: Exchange) -> None:
        if carried_out:
            assert exchange.pass_on().ok
        exchange.read()
        body = _error(200, "InternalError", [], blanks).body
        if not declared:
            body = b" " * blanks + body[body.index(b"<Error>") :]
        exchange.give(Answer(200, [("Content-Type", "application/xml")], body))

    return play


def first(do: Callable[[], object], then: Fault | None = None) -> Fault:
    """Do something at the very moment between request and server, then go on."""

    def play(exchange: Exchange) -> None:
        exchange.read()
        do()
        if then is None:
            exchange.give(exchange.pass_on())
        else:
            then(exchange)

    return play


def after(do: Callable[[], object]) -> Fault:
    """Do something between the server's answer and the client."""

    def play(exchange: Exchange) -> None:
        answer = exchange.pass_on()
        do()
        exchange.give(answer)

    return play


def hold(held: threading.Event, go: threading.Event, then: Fault | None = None) -> Fault:
    """Hold the request before the server until `go`."""

    def wait() -> None:
        held.set()
        assert go.wait(HELD_SECONDS)

    return first(wait, then)


def never(until: threading.Event) -> Fault:
    """Take the request and never answer."""

    def play(exchange: Exchange) -> None:
        exchange.read()
        until.wait(HELD_SECONDS)
        exchange.close()

    return play


def altered(change: Callable[[Answer], Answer]) -> Fault:
    """Give another answer than the server's."""

    def play(exchange: Exchange) -> None:
        exchange.give(change(exchange.pass_on()))

    return play


def header_set(name: str, text: str) -> Callable[[Answer], Answer]:
    """Return a change that gives an answer's header another value."""

    def change(answer: Answer) -> Answer:
        kept = [one for one in answer.headers if one[0].lower() != name.lower()]
        return Answer(answer.status, [*kept, (name, text)], answer.body)

    return change


def trickle(step: Callable[[], None]) -> Fault:
    """Carry it out; answer byte by byte, with a step before each."""

    def play(exchange: Exchange) -> None:
        for byte in exchange.bytes_of(exchange.pass_on()):
            step()
            exchange.send(bytes([byte]))

    return play


def endless(step: Callable[[], None], piece: bytes) -> Fault:
    """Carry it out; answer with headers that never end, a piece a step."""

    def play(exchange: Exchange) -> None:
        exchange.pass_on()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            step()
            exchange.send(piece)

    return play


def sip(bytes_a_second: int, wait: Callable[[float], None]) -> Fault:
    """Read the body at a rate, then carry it out."""

    def play(exchange: Exchange) -> None:
        while (size := exchange.sip(bytes_a_second)) is not None:
            wait(size / bytes_a_second)
        exchange.give(exchange.pass_on())

    return play


def _error(status: int, code: str, headers: Headers, blanks: int) -> Answer:
    text = ERROR.format(code=code, blanks=" " * blanks)
    return Answer(status, [("Content-Type", "application/xml"), *headers], text.encode())
