"""The address of the client that sent a request, behind trusted proxies or not (D34)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
# More hops than any real chain; a longer header is read from its trusted end only this far.
_HOPS_MAX = 32

_BRACKETED = re.compile(r"\[([^]]*)\](?::[0-9]+)?")


def client_address(
    peer: str, headers: Sequence[tuple[bytes, bytes]], trusted: Sequence[Network]
) -> str:
    """Return the peer, or the nearest forwarded address that no trusted proxy has.

    An IPv4 address is one however it came: a socket for both versions says `::ffff:198.51.100.1`.
    """
    if not trusted and ":" not in peer:
        return peer
    address = _parse(peer)
    if address is None:
        return peer
    if not _is_trusted(address, trusted):
        return str(address)
    hops = b",".join(value for name, value in headers if name == b"x-forwarded-for").split(b",")
    for hop in reversed(hops[-_HOPS_MAX:]):
        text = hop.decode("latin-1").strip()
        if not text:
            continue  # Lists in headers may have empty places (RFC 9110, 5.6.1).
        forwarded = _parse(_without_port(text))
        if forwarded is None:
            break
        address = forwarded
        if not _is_trusted(address, trusted):
            break
    return str(address)


def _without_port(text: str) -> str:
    """Return an address as some proxies name it, `198.51.100.1:4711` or `[2001:db8::1]:4711`."""
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is not None:
        return bracketed[1]
    host, colon, port = text.partition(":")
    return host if colon and port.isdigit() and "." in host else text


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    # A zone means nothing on another machine, and is text of any length that goes into lines.
    return address.ipv4_mapped or IPv6Address(int(address))


def _is_trusted(address: IPv4Address | IPv6Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
