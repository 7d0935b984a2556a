"""Ceph's RADOS Gateway, a real S3 server, as child processes on loopback: one of each daemon.

It asks a bucket's policy before it aborts an upload, which SeaweedFS does not. All of it lies in
memory and one temporary folder, and nothing is left after `stop`. Debian has it, see
`scripts/debian-packages`. Up in under two seconds, 130 MB of memory.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tailrace.demo.seaweed import Keys, client
from tailrace.ids import Ids

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw", "radosgw-admin")
# Both users are of one tenant, whose name looks like an account's number.
TENANT = "210987654321"
EXPORTER_ARN = f"arn:aws:iam::{TENANT}:user/exporter"

_STEP_SECONDS = 60  # one command, or one daemon until it answers, on a busy machine
_POLL_SECONDS = 0.05
_STOP_SECONDS = 10.0  # after this long a daemon is killed
_STORE_BYTES = 2 * 1024**3  # the most that it may keep in memory
_LOG_TAIL_BYTES = 1500

# No keyrings and no encryption: whoever reaches these ports is on this machine, for some seconds.
# A lone monitor, a lone store, one copy of everything, and no waiting for others that may come.
_CONFIGURATION = """\
[global]
fsid = {cluster}
mon_host = v2:127.0.0.1:{monitor_port}
mon_initial_members = one
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_cluster_mode = crc
ms_service_mode = crc
ms_client_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
ms_mon_client_mode = crc
run_dir = {folder}
crash_dir = {folder}
admin_socket = {folder}/$name.asok
log_file = {folder}/$name.log
pid_file =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_osd_min_up_ratio = 0
mon_data_avail_warn = 1
mon_data_avail_crit = 1
paxos_min_wait = 0.01
paxos_propose_interval = 0.02

[mon.one]
mon_data = {folder}/mon

[osd.0]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = {store_bytes}
osd_failsafe_full_ratio = 1

[client.rgw.one]
rgw_frontends = beast endpoint=127.0.0.1:{gateway_port}
rgw_thread_pool_size = 32
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
rgw_enable_quota_threads = false
rgw_run_sync_thread = false
"""


class Ceph:
    """A running gateway with two users: `owner` of every bucket, and `exporter`."""

    def __init__(self, folder: Path, endpoint_url: str, owner: Keys, exporter: Keys) -> None:
        self.endpoint_url = endpoint_url
        self.owner = owner
        self.exporter = exporter
        self.exporter_arn = EXPORTER_ARN
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []

    def client(self, keys: Keys) -> S3Client:
        """Return an S3 client for one of the two users."""
        return client(self.endpoint_url, keys)

    def create_bucket(self, bucket: str) -> None:
        """Create a bucket that belongs to the owner and grants the exporter nothing."""
        self.client(self.owner).create_bucket(Bucket=bucket)

    def put_document(self, bucket: str, policy: str) -> None:
        """Replace the bucket's policy."""
        self.client(self.owner).put_bucket_policy(Bucket=bucket, Policy=policy)

    def run(self, *words: str) -> None:
        """Run a command of Ceph on this cluster to its end."""
        with (self._folder / "commands.log").open("ab") as log:
            subprocess.run(
                [words[0], "-c", self._folder / "ceph.conf", *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                timeout=_STEP_SECONDS,
            )

    def launch(self, *words: str, until: Callable[[], bool]) -> None:
        """Start a daemon and wait until it answers; raise `RuntimeError` with its last words."""
        log = self._folder / f"{words[0]}.out"
        with log.open("ab") as output:
            daemon = subprocess.Popen(
                [words[0], "-c", self._folder / "ceph.conf", *words[1:], "-f"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        for _ in range(round(_STEP_SECONDS / _POLL_SECONDS)):
            if until():
                return
            if daemon.poll() is not None:
                break
            time.sleep(_POLL_SECONDS)
        said = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        raise RuntimeError(f"{words[0]} did not come up. Its last words were: {said}")

    def store_is_up(self) -> bool:
        """Say whether the monitor has heard of the store."""
        with contextlib.suppress(subprocess.SubprocessError):
            found = subprocess.run(
                ["ceph", "-c", self._folder / "ceph.conf", "osd", "stat", "--format", "json"],
                capture_output=True,
                check=True,
                timeout=_STEP_SECONDS,
            )
            return bool(json.loads(found.stdout)["num_up_osds"] == 1)
        return False

    def gateway_answers(self) -> bool:
        """Say whether S3 requests are answered."""
        connection = http.client.HTTPConnection(self.endpoint_url.removeprefix("http://"))
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End the daemons, the last one first, and remove their folder; safe to call again."""
        while self._daemons:
            daemon = self._daemons.pop()
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Ceph:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def missing_programs() -> list[str]:
    """Return what of Ceph is not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def start(ids: Ids) -> Ceph:
    """Start all that a gateway needs, on free loopback ports, and return once it takes requests."""
    folder = Path(tempfile.mkdtemp(prefix="tailrace-ceph-"))
    monitor_port, gateway_port = _free_ports(2)
    server = Ceph(folder, f"http://127.0.0.1:{gateway_port}", _make_keys(ids), _make_keys(ids))
    try:
        (folder / "mon").mkdir()
        (folder / "osd").mkdir()
        cluster, store = str(uuid.uuid4()), str(uuid.uuid4())
        values = {
            "cluster": cluster,
            "folder": folder,
            "monitor_port": monitor_port,
            "gateway_port": gateway_port,
            "store_bytes": _STORE_BYTES,
        }
        (folder / "ceph.conf").write_text(_CONFIGURATION.format_map(values))
        _start_monitor(server, folder, cluster, monitor_port)
        server.run("ceph", "osd", "new", store)
        server.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        server.launch("ceph-osd", "-i", "0", until=server.store_is_up)
        for name, keys in (("owner", server.owner), ("exporter", server.exporter)):
            _add_user(server, name, keys)
        server.launch("radosgw", "-n", "client.rgw.one", until=server.gateway_answers)
    except BaseException:
        server.stop()
        raise
    return server


def _start_monitor(server: Ceph, folder: Path, cluster: str, port: int) -> None:
    address = f"[v2:127.0.0.1:{port}]"
    monitors = str(folder / "monitors")
    server.run(
        *("monmaptool", "--create", "--fsid", cluster, "--addv", "one", address),
        *("--enable-all-features", "--set-min-mon-release", "16", monitors),
    )
    server.run("ceph-mon", "-i", "one", "--mkfs", "--monmap", monitors)

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    server.launch("ceph-mon", "-i", "one", until=listens)


def _add_user(server: Ceph, name: str, keys: Keys) -> None:
    server.run(
        *("radosgw-admin", "-n", "client.rgw.one", "user", "create"),
        *("--tenant", TENANT, "--uid", name, "--display-name", name),
        *("--access-key", keys.access_key_id, "--secret-key", keys.secret_access_key),
    )


def _make_keys(ids: Ids) -> Keys:
    return Keys(ids.random_bytes(10).hex().upper(), ids.random_bytes(20).hex())


def _free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
