"""Forwarded addresses count only from trusted proxies."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tailrace.collect.client_address import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["\xff\xfe"], "10.0.0.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
        # Some proxies name the port too, and an IPv6 address then has brackets.
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1:4711, 10.0.0.2:80"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["[::ffff:198.51.100.1]:80"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1:http"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, [198.51.100.1]x"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, ,", ""], "198.51.100.1"),
        ("10.0.0.1", [" , "], "10.0.0.1"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("2001:db8::9", ["198.51.100.1"], "2001:db8::9"),
        # A zone is text of any length, and would be in every line of the request.
        ("10.0.0.1", ["fe80::1%" + "x" * 5000], "fe80::1"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_is_the_client(
    peer: str, forwarded: list[str], address: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]

    assert client_address(peer, headers, TRUSTED) == address


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    forwarded = [(b"x-forwarded-for", b"1.2.3.4")]

    for peer in ("10.0.0.1", "2001:db8::1", "no address"):
        assert client_address(peer, forwarded, []) == peer
    # As a socket that listens on [::] sees a client that came by IPv4.
    assert client_address("::ffff:10.0.0.1", forwarded, []) == "10.0.0.1"
