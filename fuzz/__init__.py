"""Hostile input: coverage-guided fuzzing with oracles, and a crowd of huge requests."""
