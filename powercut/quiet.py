"""Keeps the service's own log lines out of the report: thousands of starts would fill it."""

from __future__ import annotations

import logging

import structlog


def be_quiet() -> None:
    """Drop all log events of this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
