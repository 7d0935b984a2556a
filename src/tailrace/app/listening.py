"""Listening sockets: addresses as typed, and binding them with sentences for what goes wrong."""

from __future__ import annotations

import errno
import socket

import msgspec

from tailrace.errors import BadRequest, NeedsOperator

LISTEN_DEFAULT = "127.0.0.1:8585"
WEB_LISTEN_DEFAULT = "127.0.0.1:8080"

# Connections that wait while a collector restarts; the kernel caps it at net.core.somaxconn.
BACKLOG = 4096
_PORT_DIGITS_MAX = 5


class Address(msgspec.Struct, frozen=True):
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, option: str) -> Address:
        """Read `HOST:PORT` or `[IPV6]:PORT`; raise `BadRequest` that names the option."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        is_port = port.isdecimal() and len(port) <= _PORT_DIGITS_MAX and int(port) <= 65535
        if not colon or not host or not is_port:
            raise BadRequest(f"{option} {text!r} is no address: write it as HOST:PORT.")
        return cls(host, int(port))


def bind(address: Address, option: str) -> socket.socket:
    """Listen there, or raise `NeedsOperator` that names the option to change."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = None
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        reason = error.strerror if isinstance(error, OSError) else "that is no host name"
        raise NeedsOperator(
            f"Cannot listen on {address.host}:{address.port}: {reason}. "
            f"Stop what uses it, or name another address with {option}."
        ) from error
    return listening


def bind_or_free(address: Address, option: str) -> socket.socket:
    """Listen there, or on a free port of the same host if that port is taken."""
    try:
        return bind(address, option)
    except NeedsOperator as error:
        if not is_taken(error):
            raise
        return bind(Address(address.host, 0), option)


def is_taken(error: NeedsOperator) -> bool:
    """Say whether `bind` failed because another process listens there."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE


def url(listening: socket.socket) -> str:
    """Return the http address of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
