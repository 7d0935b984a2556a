"""Ctrl-C, a terminal that closes and a kill all end the demo in the same, orderly way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Turn signals into `Interrupted`, once, and only where work may be left half-done.

    Elsewhere (while a child is being started, while things are put away) a signal is only noted.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._raises = False
        for number in _NUMBERS:
            # A demo started with nohup goes on when its terminal closes.
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:
                signal.signal(number, self._take)

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Let a signal raise `Interrupted` inside; one noted before raises at once."""
        self._raises = True
        try:
            self.check()
            yield
            self.check()
        finally:
            self._raises = False

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals inside, and raise afterwards what was noted."""
        raises, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = raises
        if raises:
            self.check()

    def check(self) -> None:
        """Raise `Interrupted` if a signal was noted."""
        if self.received is not None:
            self._raises = False
            raise Interrupted(self.received)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        if self._raises:
            self._raises = False
            raise Interrupted(number)
