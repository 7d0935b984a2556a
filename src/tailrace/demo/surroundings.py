"""What the demo and its children may see of the machine: nothing that leads off it.

Called by the demo's entry point, and by tests that start the service.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from tailrace.errors import NeedsOperator

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "request_method")
_CLEARED = ("AWS_", "BOTO_", "TAILRACE_")
_SET = {
    # Nothing is read from the reader's own AWS configuration, and no metadata service is asked.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    # The demo's bucket is on this machine.
    "TAILRACE_EXPORT_PRIVATE_ENDPOINTS": "true",
    # Where proxies come from the system instead of the environment, this turns them off.
    "no_proxy": "*",
}


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without AWS, proxy and tailrace variables, and AWS shut off."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(_CLEARED) and name.lower() not in _PROXIES
    }
    return kept | _SET


def check_loopback(url: str) -> str:
    """Return the URL if its host is a loopback address, else raise `NeedsOperator`.

    Names are refused, `localhost` too: what they lead to is decided elsewhere.
    """
    host = urlsplit(url).hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise NeedsOperator(
            f"The demo does not talk to {url}: {host or 'it'} is no loopback address. "
            "It uses only servers that it starts itself."
        )
    return url
