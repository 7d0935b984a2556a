"""`Site`: what all pages stand on, made once when the process of the pages starts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy.engine import Engine

from tailrace.accounts.passwords import Passwords
from tailrace.app.recent import RecentEvents
from tailrace.clock import Clock
from tailrace.folder import DataFolder
from tailrace.ids import Ids
from tailrace.ops.status import Status
from tailrace.settings import Settings
from tailrace.web.attempts import Attempts
from tailrace.web.static_files import StaticFiles


class Site(msgspec.Struct, frozen=True):
    """The parts of the service that pages call.

    `clock` is the service's; `machine_clock` is what cookies and sessions follow. `collect_url` is
    where SDKs on this machine send events; empty while the service has not said it.
    """

    folder: DataFolder
    engine: Engine
    settings: Settings
    clock: Clock
    machine_clock: Clock
    ids: Ids
    passwords: Passwords
    attempts: Attempts
    recent: RecentEvents
    static: StaticFiles
    read_status: Callable[[], Status]
    collect_url: Callable[[], str]
