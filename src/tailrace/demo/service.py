"""tailrace as the demo's reader would run it: by its commands, each a process of its own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from tailrace.clock import SystemClock
from tailrace.demo.children import Child, Children
from tailrace.demo.surroundings import check_loopback
from tailrace.errors import NeedsOperator
from tailrace.folder import DataFolder
from tailrace.hours import Hour

_COMMAND_SECONDS = 60.0  # even `destination add`, which runs every probe, needs a few
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.1
_ADDRESS = r"^\s*{name}:\s+(http://\S+?)(?:/healthz,)?(?:\s|$)"


class Project(msgspec.Struct, frozen=True):
    """What `tailrace init` made."""

    org_id: int
    project_id: int
    api_key: str


_decode_project = msgspec.json.Decoder(Project).decode


class Running(msgspec.Struct, frozen=True):
    """A service that is ready, by its addresses."""

    events_url: str
    web_url: str


class Service:
    """One data folder and the commands on it."""

    def __init__(self, data: Path, children: Children) -> None:
        self.data = data
        self._children = children
        self._serving: Child | None = None

    def init(self, email: str) -> Project:
        """Make the data folder with one project and its first admin."""
        names = ("--org-name", "Acme", "--project-name", "Shop", "--email", email)
        project = _decode_project(self._command("init", *names, "--json"))
        # Also for commands that the reader runs: the demo's buckets are on this machine.
        (self.data / "tailrace.toml").write_text("[export]\nprivate_endpoints = true\n")
        return project

    def set_password(self, email: str, password: str) -> None:
        """Let a person sign in."""
        self._command("person", "password", email, said=f"{password}\n")

    def serve(self, clock_start: str) -> Running:
        """Start the service on free ports and return once it takes events."""
        words = ("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")
        child = self._serving = self._start("serve", *words, "--clock-start", clock_start)
        for _ in range(round(_READY_SECONDS / _POLL_SECONDS)):
            said = child.output()
            if "tailrace is ready" in said:
                events, health = _address("events", said), _address("health", said)
                return Running(check_loopback(events), check_loopback(health))
            if child.wait(_POLL_SECONDS) is not None:
                break
        raise NeedsOperator(
            f"The service did not come up within {_READY_SECONDS:.0f} s. It said: "
            f"{child.last_words() or child.output()}"
        )

    def clock(self) -> SystemClock:
        """Return the clock that the service runs on, which is fixed once it has started."""
        return DataFolder(self.data).clock()

    def wait(self, seconds: float) -> None:
        """Let time pass; raise `NeedsOperator` if the service ends meanwhile."""
        if self._serving is not None and self._serving.wait(seconds) is not None:
            raise NeedsOperator(f"The service ended. It said: {self._serving.last_words()}")

    def add_destination(
        self, project: Project, *, name: str, bucket: str, region: str, prefix: str,
        endpoint_url: str, access_key_id: str, secret_file: Path,
    ) -> None:  # fmt: skip
        """Add the bucket; the probes of its access must pass, else `NeedsOperator`."""
        options = {
            "--project": str(project.project_id),
            "--name": name,
            "--bucket": bucket,
            "--region": region,
            "--prefix": prefix,
            "--endpoint-url": check_loopback(endpoint_url),
            "--access-key-id": access_key_id,
            "--secret-access-key-file": str(secret_file),
            "--include": "events,merged-ids",
        }
        words = [word for option in options.items() for word in option]
        self._command("destination", "add", "amazon-s3", *words, "--json")

    def past(
        self, project: Project, first: Hour, until: Hour, *, opened: Hour, start: str
    ) -> Child:
        """Start to make the hours from `first` up to `until`, before a service that starts then.

        The shop `opened` with that hour.
        """
        options = {
            "--data": str(self.data),
            "--api-key": project.api_key,
            "--from": str(first),
            "--opened": str(opened),
            "--until": str(until),
            "--service-start": start,
        }
        words = [word for option in options.items() for word in option]
        return self._children.start([sys.executable, "-m", "tailrace.demo.past", *words])

    def _command(self, *words: str, said: str = "") -> str:
        child = self._start(*words, said=said)
        code = child.wait(_COMMAND_SECONDS)
        if code != 0:
            ending = "is still at work" if code is None else f"ended with {code}"
            said = f"{child.output()}{child.last_words()}".strip()
            raise NeedsOperator(f"tailrace {' '.join(words[:3])} {ending}. It said: {said}")
        return child.output()

    def _start(self, *words: str, said: str = "") -> Child:
        command = [sys.executable, "-m", "tailrace", *words, "--data", str(self.data)]
        return self._children.start(command, said)


def _address(name: str, said: str) -> str:
    found = re.search(_ADDRESS.format(name=name), said, re.MULTILINE)
    if found is None:
        raise NeedsOperator(f"The service said no address for {name}. It said: {said}")
    return found[1]
