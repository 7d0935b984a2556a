"""The whole service, killed at named points and at random; the proof is read from the bucket.

Every test takes half a minute, because a real hour has to end under real processes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# Each part dies at the first of these that it reaches, and comes back without them.
RUNS = {
    "before-fsync, pack-before-commit, put-before-ledger": (
        "log.written:40,checkpoint.packed,export.put",
        {"collector-1", "processor", "exporter"},
    ),
    "after-fsync, pack-before-rename, manifest-before-marker": (
        "log.synced:40,pack.written,export.manifest",
        {"collector-1", "processor", "exporter"},
    ),
    "file-before-commit, ledger-before-commit": (
        "seal.file.renamed,ledger.succeeded",
        {"processor", "exporter"},
    ),
    "rows-before-hand-over": ("seal.rows,ledger.file_delivered", {"processor", "exporter"}),
    "sealed-before-hand-over": ("seal.hour", {"processor"}),
    "handed-over-before-mark": ("seal.handed_over", {"processor"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_at_a_named_point_loses_and_doubles_nothing(
    name: str, make_rig: Callable[..., Any], make_load: Callable[..., Any]
) -> None:
    points, dying = RUNS[name]
    rig = make_rig()
    rig.serve(kill_at=points)
    load = make_load(rig, events=7)
    rig.add_destination()
    load.run(clients=3)
    rig.wait_for_marker()
    # The marker may be seen before the exporter has told the ledger, and died of that.
    rig.wait_for(lambda: set(rig.deaths()) == dying)
    load.prove(rig.exported_lines())
    assert rig.stop() == 0


def test_a_kill_between_two_parts_of_an_upload_leaves_one_whole_object(
    make_rig: Callable[..., Any], make_load: Callable[..., Any]
) -> None:
    rig = make_rig()
    rig.serve(kill_at="export.part,checkpoint.committed")
    # Random text hardly shrinks, so the hour's file is over 16 MiB and sent in parts.
    load = make_load(rig, events=200, filler_bytes=750, requests_max=120)
    rig.add_destination()
    load.run(clients=2)
    rig.wait_for_marker()
    assert "exporter" in rig.deaths(), rig.errors()
    load.prove(rig.exported_lines())
    client = rig.s3.client(rig.s3.owner)
    assert client.list_multipart_uploads(Bucket=rig.bucket).get("Uploads", []) == []


def test_kills_at_random_moments_lose_and_double_nothing(
    make_rig: Callable[..., Any], make_load: Callable[..., Any]
) -> None:
    chance = random.Random()
    seed = chance.getrandbits(32)
    chance.seed(seed)
    rig = make_rig(TAILRACE_COLLECT_PROCESSES="2", TAILRACE_SEAL_PARTITION_BYTES="20000")
    rig.serve()
    load = make_load(rig, events=5)
    rig.add_destination()
    kills: list[str] = []

    def kill_now_and_then() -> None:
        # Five deaths in a minute would end the service, so there are four.
        for _ in range(4):
            threading.Event().wait(chance.uniform(0.5, 3))
            name, process = chance.choice(
                [item for item in rig.processes().items() if item[0] != "serve"]
            )
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                kills.append(name)

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    load.run(clients=4)
    killer.join()
    rig.wait_for_marker()
    assert kills, seed
    load.prove(rig.exported_lines())
