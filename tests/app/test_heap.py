"""Freed large blocks leave the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Every second block is freed; what lies between keeps the heap from being cut at its end.
CHILD = """
import re
import sys
from pathlib import Path
from tailrace.app.heap import give_large_blocks_back

def anonymous_kib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

if sys.argv[1] == "set":
    assert give_large_blocks_back()
# The first free of a block makes the library keep all later ones up to its size.
del (big := [bytearray(b"x") * 20_000_000])[:]
before = anonymous_kib()
kept = []
for _ in range(8):
    large = bytearray(b"x") * 4_000_000
    kept.append(bytearray(b"y") * 50_000)
    big.append(large)
big.clear()
del large
print(anonymous_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have other ways")
def test_large_blocks_go_back_to_the_system_though_small_ones_stay() -> None:
    assert _left_kib("set") < 4_000
    # Without the setting they stay, or this test would prove nothing.
    assert _left_kib("leave") > 20_000


def _left_kib(how: str) -> int:
    source = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, how],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)
