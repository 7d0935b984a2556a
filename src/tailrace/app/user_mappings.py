"""Where a collector keeps user mappings, and finds the amplitude ids of mapped users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.engine import Engine

from tailrace.accounts.mappings import (
    Mapped,
    UserMapping,
    mapped_users,
    mappings_around,
    store_mappings,
)
from tailrace.accounts.project_keys import secret_key_is
from tailrace.app.busy import busy_is_transient
from tailrace.clock import Clock
from tailrace.errors import DiskReserve
from tailrace.state.processing_view import ProcessingView


class MappingBook:
    """The mappings in the database of the accounts; every call may block."""

    def __init__(
        self, engine: Engine, processing: ProcessingView, clock: Clock, has_room: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._processing = processing
        self._clock = clock
        self._has_room = has_room

    def store(self, organization: int, mappings: Sequence[UserMapping]) -> None:
        """Make the mappings durable; raise `DiskReserve` where appends are refused too."""
        if not self._has_room():
            raise DiskReserve("The disk is nearly full.")
        with busy_is_transient():
            store_mappings(self._engine, organization, mappings, clock=self._clock)

    def of_users(self, organization: int, user_ids: Sequence[str]) -> Mapping[str, Mapped]:
        """Return what each user is mapped from and to."""
        with busy_is_transient():
            found = mappings_around(self._engine, organization, user_ids)
            named = {user_id for pair in found for user_id in pair}
            return mapped_users(found, self._processing.amplitude_ids(organization, named))

    def secret_key_is(self, project: int, secret_key: str) -> bool:
        """Tell whether this is the project's secret key."""
        with busy_is_transient():
            return secret_key_is(self._engine, project, secret_key)
