"""What keeps a request from a store before it can answer: a certificate, or a name without address.

Called by `diagnose.py`.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import EndpointConnectionError, SSLError

from tailrace.export.endpoints import NoAddress
from tailrace.state.delivery import Destination

# OpenSSL's numbers: X509_V_ERR_CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH.
_EXPIRED = 10
_OF_ANOTHER_HOST = {62, 64}


class BadCertificate(msgspec.Struct, frozen=True):
    """A certificate that only whoever runs the store can mend: what is wrong, and what to do."""

    code: str
    why: str
    fix: str


def bad_certificate(error: Exception, destination: Destination) -> BadCertificate | None:
    """Return what is wrong with the certificate of the destination's own endpoint.

    None for all that the operator has to look at: an authority that is not trusted, one that
    something in between made up, and names that are no customer's, such as Amazon's.
    """
    if not isinstance(error, SSLError) or destination.endpoint_url is None:
        return None
    asked = str(error.kwargs.get("endpoint_url", ""))
    if _server(asked) != _server(destination.endpoint_url):
        # Where roles are assumed.
        return None
    # botocore's error has urllib3's, which has the reason.
    within = error.kwargs.get("error")
    reason = within.args[0] if isinstance(within, Exception) and within.args else None
    number = reason.verify_code if isinstance(reason, ssl.SSLCertVerificationError) else None
    host = urlsplit(destination.endpoint_url).hostname
    if number == _EXPIRED:
        return BadCertificate(
            "CertificateExpired",
            f"the certificate of {host} has expired",
            f"Have whoever runs the store put a new certificate on {host}.",
        )
    # urllib3 compares names by itself: then it is no error of OpenSSL's.
    compared = isinstance(reason, ValueError) and not isinstance(reason, ssl.SSLError)
    if number in _OF_ANOTHER_HOST or compared:
        return BadCertificate(
            "CertificateOfAnotherHost",
            f"the certificate that {host} shows is for another host",
            "Give the destination an endpoint that the certificate names, or have whoever runs the "
            f"store put one for {host} there.",
        )
    return None


def host_without_address(error: Exception) -> str | None:
    """Return the host that was asked for where its name has no address, or None."""
    if not isinstance(error, EndpointConnectionError):
        return None
    within = error.kwargs.get("error")
    why = within.__cause__ if isinstance(within, Exception) else None
    if not isinstance(within, NoAddress) and not isinstance(why, socket.gaierror):
        return None
    return urlsplit(str(error.kwargs["endpoint_url"])).hostname


def _server(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
