"""Hunt with one target in this process: `python -m fuzz.hunt TARGET`, then the fuzzer's options."""

from __future__ import annotations

import sys
import warnings

import atheris

from fuzz.targets import load_target


def main() -> None:
    """Watch which branches of tailrace each input takes, and grow inputs that take new ones."""
    warnings.simplefilter("ignore")
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["tailrace"]):
        target = load_target(name)
    atheris.Setup(["hunt", *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
