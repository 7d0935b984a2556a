"""`make outage`: a destination's set-up with one permission missing at a time, and an outage.

What is printed is what tailrace's own commands say, against an S3 server that enforces the policy
of the bucket. The service's time runs sixty times as fast, the schedules of its tries as well.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tailrace.demo import seaweed
from tailrace.export import policy
from tailrace.ids import SystemIds
from torture.service import Service

RATE = 60
BUCKET = "acme-events"
PREFIX = "raw/"
ADMIN = "dana@acme.example"
EVENTS = 100
# An hour that ends, an outage that begins or ends: each takes a minute, and more on a busy machine.
PATIENCE_SECONDS = 240

ACTIONS = tuple(grant.action for grant in policy.GRANTS)
# SeaweedFS lets whoever began an upload give it up, whatever the policy says.
NOT_ENFORCED = "s3:AbortMultipartUpload"


class Unexpected(Exception):
    """A command did not say what it should have, or what was waited for did not come."""


class Story:
    """One data folder, one bucket, and what is told of them."""

    def __init__(self, service: Service, server: seaweed.Seaweed, say: Callable[[str], object]):
        self._service = service
        self._server = server
        self._say = say
        self._place = policy.place(
            bucket=BUCKET,
            prefix=PREFIX,
            principal=server.exporter_arn,
            region=seaweed.REGION,
            endpoint_url=server.endpoint_url,
        )

    def tell(self) -> None:
        """Tell the whole story; raise `Unexpected` where it goes another way."""
        _, made, _ = self._service.command("init", "--email", ADMIN, "--json")
        project = json.loads(made)
        self._service.start()
        self._wait(self._takes_events, "the service")
        self._set_up(project["project_id"])
        self._break(project["api_key"])
        self._heal()

    def _set_up(self, project: int) -> None:
        secret = self._service.folder / "secret-access-key"
        secret.touch(mode=0o600)
        secret.write_text(self._server.exporter.secret_access_key)
        self._policy_without(*ACTIONS[1:])
        self._run(
            *("destination", "add", "amazon-s3", "--project", str(project)),
            *("--bucket", BUCKET, "--region", seaweed.REGION, "--prefix", PREFIX),
            *("--endpoint-url", self._server.endpoint_url),
            *("--access-key-id", self._server.exporter.access_key_id),
            *("--secret-access-key-file", str(secret)),
            expect="Missing: s3:PutObject\n",
        )
        for action in ACTIONS:
            if action != NOT_ENFORCED:
                self._policy_without(action)
                self._run("verify", "1", expect=f"Missing: {action}\n")
        self._run("policy", "1", "--principal", self._server.exporter_arn, "--format", "json")
        self._policy_without()
        self._run("verify", "1", expect="Destination 1 is active")

    def _break(self, api_key: str) -> None:
        self._send(api_key)
        self._policy_without("s3:PutObject")
        self._wait(lambda: self._states() == ["failed"], "the outage")
        self._run("runs", expect="failed")
        self._run("destination", "show", "1", expect="outage ")
        self._wait(lambda: "outage" in self._read("mail", "list"), "the mail")
        self._run("mail", "list", expect="outage")
        self._run("mail", "show", "1", expect=ADMIN)

    def _heal(self) -> None:
        self._policy_without()
        self._wait(lambda: self._states() == ["success"], "the end of the outage")
        self._wait(lambda: "all-clear" in self._read("mail", "list"), "the all-clear")
        self._run("runs", expect="success")
        self._run("mail", "show", "2", expect=f"Access to {BUCKET} is back")

    def _policy_without(self, *actions: str) -> None:
        left = policy.statements(self._place, set(ACTIONS) - set(actions))
        self._server.put_document(BUCKET, policy.as_json(policy.Policy("2012-10-17", left)))
        lacks = f"lacks {', '.join(actions)}" if actions else "is whole"
        self._say(f"\n# The policy of {BUCKET} {lacks}.")

    def _run(self, *words: str, expect: str = "") -> None:
        """Run a command and tell what it said."""
        said = self._read(*words)
        self._say(f"\n$ tailrace {shlex.join(words)}\n{said.rstrip()}")
        if expect not in said:
            raise Unexpected(f"tailrace {shlex.join(words)} did not say {expect!r}.")

    def _read(self, *words: str) -> str:
        _, out, err = self._service.command(*words)
        return out + err

    def _states(self) -> list[str]:
        # Hours without events are delivered, too, but only those that were owed when events came.
        runs = json.loads(self._service.command("runs", "--json")[1])
        return [run["status"] for run in runs if run["files"]]

    def _takes_events(self) -> bool:
        host, port = self._service.address
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _send(self, api_key: str) -> None:
        events = [
            {"user_id": f"visitor-{n:03}", "event_type": "looked", "insert_id": f"look-{n}"}
            for n in range(EVENTS)
        ]
        host, port = self._service.address
        request = urllib.request.Request(
            f"http://{host}:{port}/2/httpapi",
            json.dumps({"api_key": api_key, "events": events}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            self._say(f"\n# {EVENTS} events were answered with {answer.status}.")

    def _wait(self, look: Callable[[], object], what: str) -> None:
        if not self._service.wait_for(look, PATIENCE_SECONDS):
            raise Unexpected(f"{what} did not come in {PATIENCE_SECONDS} s.")


def main() -> int:
    """Tell the story on this machine; return the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="tailrace-outage-"))
    try:
        with seaweed.start(SystemIds()) as server:
            server.create_bucket(BUCKET)
            service = Service(folder, None, RATE)
            try:
                Story(service, server, print).tell()
                service.stop()
            finally:
                service.end()
    except Unexpected as error:
        print(f"The story went another way: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
