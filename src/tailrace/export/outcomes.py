"""How a probe ends, in a word, from its cause or from what was raised. Called by `probing.py`."""

from __future__ import annotations

from typing import Literal

from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tailrace.errors import NeedsOperator, TailraceError
from tailrace.export.answers import TABLE
from tailrace.state.delivery import Cause

# `settings`: the destination names a bucket or region that is not so, or an endpoint that can't be.
# `refused`: the store refuses the call, and not for a permission that would be known to be missing.
Outcome = Literal[
    "ok", "missing", "not tried", "temporary", "operator", "settings", "refused", "unknown"
]

# An endpoint or region of which botocore or our own rules make no client, or not now.
NO_CLIENT = (TailraceError, BotoCoreError, ValueError)
# Nothing would answer the other probes either, each after its whole time-out.
UNREACHABLE = (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError)


def outcome_without_client(error: Exception) -> Outcome:
    """Return how the probes end where no client can be made."""
    if isinstance(error, UNREACHABLE):
        return "temporary"
    return "operator" if isinstance(error, NeedsOperator) else "settings"


def outcome_of(cause: Cause) -> Outcome:
    """Return how a probe ends that failed for a cause."""
    if cause.kind == "access":
        if cause.permission is not None:
            return "missing"
        # It says nothing of the other calls, which are tried.
        return "refused" if cause.status == 403 and cause.code not in TABLE else "settings"
    if cause.kind in {"temporary", "operator"}:
        return "temporary" if cause.kind == "temporary" else "operator"
    return "unknown"
