"""`Application`: a process on Node.js with one of the official SDKs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from tests.contract.packages import SDKS, node

END_SECONDS = 60.0
Step = tuple[Any, ...]


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What the SDK told the application of a step; a retry of `@amplitude/node` has no number."""

    number: int | None
    code: int
    message: str | None


class Told(msgspec.Struct, frozen=True):
    """All that the SDK told until it had nothing left to do.

    `kept` is for how long each connection would have been kept for another request (milliseconds).
    """

    outcomes: list[Outcome]
    kept: list[int]

    @property
    def codes(self) -> dict[int, int]:
        """The status of each step, told once."""
        numbered = [one for one in self.outcomes if one.number is not None]
        assert len({one.number for one in numbered}) == len(numbered)
        return {one.number: one.code for one in numbered if one.number is not None}

    @property
    def retried(self) -> list[int]:
        """The status of each retry of `@amplitude/node`."""
        return [one.code for one in self.outcomes if one.number is None]


class Application(msgspec.Struct, frozen=True):
    """One of the SDKs, to be named in a story."""

    node: str
    sdk: str

    def run(
        self,
        url: str,
        api_key: str,
        steps: Sequence[Step],
        *,
        options: Mapping[str, Any] | None = None,
        waits: Mapping[int, int] | None = None,
        flush: bool = True,
    ) -> Told:
        """Play the steps and return once the process has ended by itself.

        With `flush` the application flushes at its end, as it should; this SDK of TypeScript's
        retries nothing then. `waits` makes waits shorter (milliseconds).
        """
        story = {
            "sdk": self.sdk,
            "url": url,
            "apiKey": api_key,
            "steps": steps,
            "options": options or {},
            "waits": {str(wait): shorter for wait, shorter in (waits or {}).items()},
            "flush": flush,
        }
        done = subprocess.run(
            [self.node, "application.cjs"],
            input=json.dumps(story),
            cwd=SDKS,
            capture_output=True,
            check=False,
            text=True,
            timeout=END_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        # SDKs log to the same output; the last line is the application's.
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=Told)


@pytest.fixture
def start_application() -> Callable[[str], Application]:
    """Make applications with an SDK of a name."""
    program = node()
    return lambda sdk: Application(program, sdk)
