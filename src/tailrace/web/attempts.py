"""`Attempts`: how often a sign-in may be tried, by address of a client and by account.

Each has an allowance that fills up again with time. What is counted does not depend on whether
there is such an account, so that nobody learns of one here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
from collections import OrderedDict

from tailrace.clock import MICROS, Clock

# A person who has forgotten which password it was needs a few; 1,440 a day guess no password of
# twelve characters.
ALLOWED = 10
REFILL_MICROS = 60 * MICROS

# Many people may share one address.
ALLOWED_PER_CLIENT = 50
REFILL_CLIENT_MICROS = 12 * MICROS

# A row takes 200 bytes or so. Beyond it the oldest is forgotten, which takes an attacker as many
# addresses or names.
ROWS_MAX = 20_000

_IPV6_NETWORK_BITS = 64


class Attempts:
    """Counts attempts in memory; safe for several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # When the allowance of each is full again, in microseconds of the steady time.
        self._full_at: OrderedDict[bytes, int] = OrderedDict()

    def wait_seconds(self, client: str, account: str) -> int:
        """Take one attempt of each allowance and return 0; or take none, and return when to retry.

        Ask before the password is checked, and call `succeeded` after the right one.
        """
        now = self._clock.steady_micros()
        kinds = (
            (_key("client", _network(client)), ALLOWED_PER_CLIENT, REFILL_CLIENT_MICROS),
            (_key("account", account), ALLOWED, REFILL_MICROS),
        )
        with self._lock:
            full_at = [max(self._full_at.get(key, now), now) + refill for key, _, refill in kinds]
            over = [
                full - (now + allowed * refill)
                for full, (_, allowed, refill) in zip(full_at, kinds, strict=True)
            ]
            if max(over) > 0:
                return -(-max(over) // MICROS)
            for full, (key, _, _) in zip(full_at, kinds, strict=True):
                self._full_at[key] = full
                self._full_at.move_to_end(key)
            while len(self._full_at) > ROWS_MAX:
                self._full_at.popitem(last=False)
        return 0

    def succeeded(self, account: str) -> None:
        """Give an account its whole allowance again."""
        with self._lock:
            self._full_at.pop(_key("account", account), None)

    def __len__(self) -> int:
        return len(self._full_at)


def _key(kind: str, text: str) -> bytes:
    # Of one size, whatever was typed.
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogatepass")).digest()[:16]


def _network(client: str) -> str:
    """Return what one client has at its disposal: an IPv4 address, or a network of IPv6 ones."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return str(address)
    return str(
        ipaddress.ip_network((int(address), _IPV6_NETWORK_BITS), strict=False).network_address
    )
