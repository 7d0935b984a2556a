from __future__ import annotations

from collections.abc import Callable

import pytest

from tailrace.errors import BadRequest
from tailrace.export.endpoints import check_endpoint


def resolving_to(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: list(addresses)


# The last two are ways to a public address: a network's NAT64, and 6to4.
PUBLIC = resolving_to(
    "93.184.215.14",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "64:ff9b::5db8:d70e",
    "2002:5db8:d70e::",
)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://s3.example.com", "https://s3.example.com"),
        ("https://s3.example.com/", "https://s3.example.com"),
        ("https://S3.Example.com:443", "https://s3.example.com"),
        ("http://s3.example.com:9000", "http://s3.example.com:9000"),
        ("http://[2606:2800::1]:9000", "http://[2606:2800::1]:9000"),
        ("http://[2606:2800:0:0:0:0:0:1]:9000", "http://[2606:2800::1]:9000"),
        ("https://s3.example.com.", "https://s3.example.com"),
        ("http://93.12113934:9000", "http://93.184.216.14:9000"),
        ("http://1572395042:9000", "http://93.184.216.34:9000"),
    ],
)
def test_an_endpoint_is_kept_in_its_plain_form(url: str, plain: str) -> None:
    assert check_endpoint(url, private_allowed=False, resolve=PUBLIC) == plain


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3.example.com",
        "ftp://s3.example.com",
        "file:///etc/passwd",
        "https://",
        "https://:443",
        "https://.",
        "https://s3.example.com..",
        "https://s3.example.com/bucket",
        "https://s3.example.com?x=1",
        "https://s3.example.com#x",
        "https://s3.example.com:0",
        "https://s3.example.com:99999",
        "https://s3.example.com:x",
        "https://s3.exa mple.com",
        "https://s3.example.com\nHost: other",
        "https://[::1",
        "https://s3.example.com\\@127.0.0.1",
        "https://" + "a" * 300,
    ],
)
def test_what_is_no_endpoint_is_refused_even_where_private_ones_are_allowed(url: str) -> None:
    with pytest.raises(BadRequest):
        check_endpoint(url, private_allowed=True, resolve=PUBLIC)


def test_a_user_and_password_are_refused_and_not_repeated() -> None:
    with pytest.raises(BadRequest) as caught:
        check_endpoint("https://u:hunter2@s3.example.com", private_allowed=True, resolve=PUBLIC)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::a83f:8110",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1::5db8:d70e",
        "::a9fe:a9fe",
        "::127.0.0.1",
        "::5db8:d70e",
        "::ffff:0:169.254.169.254",
        "::ffff:168.63.129.16",
        "2002:a83f:8110::",
        "2001:0:a83f:8110::1",
        "fec0::1",
        "5f00::1",
        "100::1",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
    ],
)
def test_an_address_of_this_network_is_refused_unless_the_operator_allows_it(address: str) -> None:
    # One bad address among good ones is enough: which one a connection takes is not ours to say.
    resolve = resolving_to("93.184.215.14", address)
    with pytest.raises(BadRequest, match=r"export\.private_endpoints"):
        check_endpoint("https://s3.example.com", private_allowed=False, resolve=resolve)
    check_endpoint("https://s3.example.com", private_allowed=True, resolve=resolve)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "localhost"])
def test_no_spelling_of_loopback_passes(host: str) -> None:
    with pytest.raises(BadRequest):
        check_endpoint(f"http://{host}:80", private_allowed=False)


def test_a_name_without_an_address_is_refused() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(BadRequest, match="no address"):
        check_endpoint("https://s3.example.com", private_allowed=False, resolve=unknown)
