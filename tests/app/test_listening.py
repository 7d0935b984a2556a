"""Addresses to listen on, as the command line has them."""

from __future__ import annotations

import pytest

from tailrace.app.listening import Address
from tailrace.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8585", "127.0.0.1", 8585), ("[::1]:0", "::1", 0), ("a:65535", "a", 65535)],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text, "--listen") == Address(host, port)


@pytest.mark.parametrize("text", ["", "a", ":1", "a:", "a:-1", "a:65536", "a:²", "a:" + "1" * 5000])
def test_anything_else_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(BadRequest, match="--listen"):
        Address.parse(text, "--listen")
