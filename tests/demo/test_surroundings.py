from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.demo.surroundings import check_loopback, clean
from tailrace.errors import NeedsOperator

HOSTILE = {
    "AWS_ACCESS_KEY_ID": "AKIDREAL",
    "AWS_ENDPOINT_URL": "https://s3.example.com",
    "aws_profile": "production",
    "HTTP_PROXY": "http://192.0.2.1:3128",
    "https_proxy": "http://192.0.2.1:3128",
    "All_Proxy": "socks5://192.0.2.1",
    "NO_PROXY": "",
    "TAILRACE_DATA": "/srv/production",
    "PATH": "/usr/bin",
}


def test_only_harmless_variables_are_kept() -> None:
    kept = clean(HOSTILE)

    assert kept.pop("PATH") == "/usr/bin"
    assert kept == {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TAILRACE_EXPORT_PRIVATE_ENDPOINTS": "true",
        "no_proxy": "*",
    }


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_cleaning_twice_changes_nothing_more(environment: dict[str, str]) -> None:
    once = clean(environment)

    assert clean(once) == once


@pytest.mark.parametrize("url", ["http://127.0.0.1:8333", "http://[::1]:9/", "http://127.9.9.9"])
def test_a_loopback_address_is_used(url: str) -> None:
    assert check_loopback(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.amazonaws.com",
        "http://192.0.2.1:8333",
        "http://0.0.0.0:8333",
        "http://localhost:8333",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com/",
        "s3",
        "",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(NeedsOperator, match="does not talk to"):
        check_loopback(url)
