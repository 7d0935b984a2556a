"""Which endpoint URLs a destination may name: an S3 store's, never a service of this network.

Called when a destination is added, before each client is made, and of each connection: names move.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from tailrace.errors import BadRequest

# Long enough for any real store; a longer one is a mistake or worse.
ENDPOINT_URL_LENGTH_MAX = 300

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All that is given out for the internet. What is outside has its own meaning on some machines, as
# site-local and IPv4-compatible addresses and a network's own NAT64 have.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Public by their numbers, and yet a cloud's own services answer there: Azure's platform, Oracle's
# older metadata.
_OF_CLOUDS = tuple(ipaddress.IPv4Network(one) for one in ("168.63.129.16/32", "192.0.0.0/24"))

Resolve = Callable[[str, int], Iterable[str]]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NoAddress(BadRequest):
    """The name in an endpoint does not resolve: it is wrong, or its service is out of order."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that a connection to `host` would use; raise `OSError` if none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def check_endpoint(url: str, *, private_allowed: bool, resolve: Resolve = resolve) -> str:
    """Return the URL in its plain form, or raise `BadRequest` that says what is wrong with it.

    `NoAddress` is the one of these that may pass by itself.

    Loopback, private, link-local (a cloud's metadata service) and other special addresses are
    refused unless `private_allowed`. A name that does not resolve is refused only then, because
    what it will lead to can't be told.
    """
    scheme, host, port = _parse(url)
    if not private_allowed:
        try:
            addresses = list(resolve(host, port))
        except OSError as error:
            raise NoAddress(
                f"Cannot use the endpoint {url}: {host} has no address ({error}). Check its name."
            ) from error
        for text in addresses:
            check_address(url, host, text)
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{shown}" if port == default else f"{scheme}://{shown}:{port}"


def check_address(url: str, host: str, text: str) -> None:
    """Raise `BadRequest` for an address in one's own network; `url` and `host` led to it."""
    if not _is_public(ipaddress.ip_address(text.partition("%")[0])):
        raise BadRequest(
            f"Cannot use the endpoint {url}: {host} is {text}, which is no public address. "
            "Whoever runs tailrace can allow such endpoints with export.private_endpoints = true."
        )


def _parse(url: str) -> tuple[str, str, int]:
    if len(url) > ENDPOINT_URL_LENGTH_MAX or not url.isascii() or not url.isprintable():
        raise _refused(url[:ENDPOINT_URL_LENGTH_MAX], "it is too long or holds odd characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(url, str(error)) from error
    if parts.username is not None or parts.password is not None:
        # The URL itself is left out: it may hold a secret.
        raise BadRequest(
            "Cannot use this endpoint: it holds a user name or password. Give the access key "
            "and the secret's file separately."
        )
    if parts.scheme not in {"http", "https"}:
        raise _refused(url, "it begins with neither http:// nor https://")
    host = _plain_host(parts.hostname or "")
    if not host or host.endswith(".") or any(character in host for character in " \\%"):
        raise _refused(url, "it names no host")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "?" in url or "#" in url:
        raise _refused(url, "something follows the host; buckets and prefixes are given apart")
    if port == 0:
        raise _refused(url, "0 is no port")
    return parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme]


def _plain_host(host: str) -> str:
    """Return the one spelling of a host by which a store is told from others (D45)."""
    if ":" in host:
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv6Address(host))
        return host
    try:
        # As a connection would read it: 127.1 and 2130706433 are 127.0.0.1.
        return str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except OSError:
        return host.removesuffix(".")


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            return _is_public(address.sixtofour)
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    elif any(address in one for one in _OF_CLOUDS):
        return False
    return address.is_global and not address.is_multicast


def _refused(url: str, reason: str) -> BadRequest:
    return BadRequest(
        f"Cannot use the endpoint {url!r}: {reason}. Write it as https://s3.example.com "
        "or http://host:port."
    )
