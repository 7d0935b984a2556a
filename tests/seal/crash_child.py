"""A processor's closing work in a process of its own, which a named point may end.

Arguments: the data folder, how far to go (`early` or `sealed`), and a partition's bytes. Run by
`test_crash.py`.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from tailrace import killpoints


def main() -> None:
    names = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    world = names["World"](Path(sys.argv[1]), partition_bytes=int(sys.argv[3]))
    killpoints.arm(os.environ.get("TAILRACE_KILL_AT"))
    world.closer.recover()
    if sys.argv[2] == "sealed":
        world.leave(world.hour.next())
    world.closer.finish()
    world.close()


if __name__ == "__main__":
    main()
