from __future__ import annotations

import pytest

from tailrace.accounts.addresses import checked_address, folded
from tailrace.errors import BadRequest


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com",
        "Ann.O'Neil+alerts@mail.example.co.uk",
        "root@localhost",
        "x" * 64 + "@example.com",
        "a@xn--bcher-kva.example",
        "=a?=b@example.com",
    ],
)
def test_an_address_is_taken_as_it_is_written(address: str) -> None:
    assert checked_address(f" {address}\n") == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "ann@b@example.com",
        "Ann <ann@example.com>",
        "ann @example.com",
        "ann@example.com,bob@example.com",
        "ann@example.com\nBcc: bob@example.com",
        ".ann@example.com",
        "a..b@example.com",
        '"a b"@example.com',
        "ann@-example.com",
        "ann@example-.com",
        "ann@example..com",
        "ann@bücher.example",
        "änn@example.com",
        "=?utf-8?q?x?=@example.com",
        "ann=?x@example.com",
        "x" * 65 + "@example.com",
        "a@" + "x" * 64 + ".com",
        "a@" + ".".join(["x" * 60] * 5),
    ],
)
def test_what_no_server_could_deliver_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"e-mail address .*name@example.com"):
        checked_address(text)


def test_case_and_blanks_make_no_other_address() -> None:
    assert folded(" Ann@Example.COM ") == folded("ann@example.com")
