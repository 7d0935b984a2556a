"""The targets by name: what is fed with bytes, and raises for a finding."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("request", "frames", "recovery", "wire", "forms", "bucket")


def load_target(name: str) -> Callable[[bytes], None]:
    """Import a target only now, so that a fuzzer can watch the imports."""
    found: Callable[[bytes], None] = import_module(f"fuzz.{name}").target
    return found


def corpus_of(name: str) -> list[Path]:
    """Return a target's saved inputs."""
    return sorted((CORPUS / name).iterdir())
