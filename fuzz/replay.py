"""Run a target's saved inputs, without a fuzzer: `python -m fuzz.replay TARGET [FILE...]`.

`make test` does this for all targets; with files it shows a finding again.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from fuzz.targets import corpus_of, load_target


def main() -> None:
    """Print how many inputs passed; exit 1 with the traceback of each that did not."""
    name, *given = sys.argv[1:]
    inputs = [Path(path) for path in given] or corpus_of(name)
    target = load_target(name)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tailrace-replay-") as folder:
        # What a target keeps between inputs goes with this folder.
        tempfile.tempdir = folder
        for path in inputs:
            try:
                target(path.read_bytes())
            except Exception:
                failed += 1
                print(f"{path}:\n{traceback.format_exc()}")
    print(f"{name}: {len(inputs) - failed} of {len(inputs)} passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
