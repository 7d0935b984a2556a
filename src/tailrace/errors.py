"""Every error that tailrace raises on purpose, split by what the reader should do.

    TailraceError
    ├── BadRequest        the caller's request or command is wrong: correct it
    │   ├── ChangedMeanwhile  somebody else changed what a form was shown of: look at it again
    │   └── NotAllowed    the person's role does not include it: ask an admin
    ├── Transient         try the same again later
    │   ├── ClockStepped  the log does not take time from a clock that jumped
    │   ├── DiskReserve   too little disk is left to take this on
    │   ├── Halted        a person stopped the export or changes where it goes: let the run go
    │   └── LeaseLost     another worker holds this delivery now: drop it
    ├── NeedsCustomer     the owner of a bucket has to change something
    ├── NeedsOperator     whoever runs tailrace has to change something
    │   ├── BadSetting    a setting is unknown or has a bad value
    │   ├── InUse         another process holds this folder
    │   ├── MailServerTrouble  the mail server did not take a mail
    │   └── NewerFormat   the data were written by a newer release
    └── Corrupt           stored data are not what was written: stop, change nothing

A message says what failed, on which thing, why, and what to do.
"""

from __future__ import annotations

from typing import Literal

# How far a mail got: each step needs the ones before it.
MailStep = Literal["connect", "TLS", "sign-in", "sender", "recipient", "message"]


class TailraceError(Exception):
    """The root of tailrace's own errors."""


class BadRequest(TailraceError):
    """What the caller sent can't be accepted, now or later."""


class ChangedMeanwhile(BadRequest):
    """Somebody else changed what the caller has seen; nothing was taken."""


class NotAllowed(BadRequest):
    """A person's role in the organization does not include what they ask for."""


class Transient(TailraceError):
    """The same call may succeed later; nothing was changed."""


class ClockStepped(Transient):
    """The machine's clock jumped forward; appends stop until the new time is accepted."""


class DiskReserve(Transient):
    """Free space fell under the reserve that this work may not touch."""


class Halted(Transient):
    """A person stopped the manual export or changes the destination: the run is to be let go."""


class LeaseLost(Transient):
    """Another worker has taken this delivery over; write nothing more for it."""


class NeedsCustomer(TailraceError):
    """The owner of the bucket has to change something."""


class NeedsOperator(TailraceError):
    """Whoever runs tailrace has to change something."""


class BadSetting(NeedsOperator):
    """A setting is unknown or its value breaks a rule."""


class InUse(NeedsOperator):
    """Another process holds the lock."""


class MailServerTrouble(NeedsOperator):
    """The mail server did not take a mail; `for_good` if it says that no other try would help."""

    def __init__(self, sentence: str, *, step: MailStep, for_good: bool = False) -> None:
        super().__init__(sentence)
        self.step = step
        self.for_good = for_good


class NewerFormat(NeedsOperator):
    """The data were written by a newer release than this one."""


class Corrupt(TailraceError):
    """Stored data are not what was written; going on could lose or double events."""
