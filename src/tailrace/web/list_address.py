"""The address of a list: what narrows it, in which order it is, and how many rows come before.

All of it stands in the address, so that a list can be kept, sent to somebody and gone back to.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from starlette.datastructures import QueryParams

from tailrace.errors import BadRequest
from tailrace.notify.amounts import counted
from tailrace.web.numbers import is_number

# So many rows are read at once.
ROWS = 100
# More hours than a destination can have runs of.
SKIP_MAX = 2_000_000
_SKIP = "skip"
# What a list is ordered by leaves nothing out.
_SORT = "sort"


class ListAddress(msgspec.Struct, frozen=True):
    """Where somebody is in the list at `path`; `asked` holds what they asked for, as written."""

    path: str
    asked: dict[str, str]
    skip: int = 0

    def get(self, name: str) -> str:
        """Return what is asked for under a name, empty for nothing."""
        return self.asked.get(name, "")

    @property
    def narrows(self) -> bool:
        """Tell whether something may be left out."""
        return any(one for name, one in self.asked.items() if name != _SORT)

    def href(self, below: str = "", **changes: str) -> str:
        """Return the address from the first row on, or of what lies `below` it."""
        return self._at(below, self.asked | changes, 0)

    def here(self, below: str = "") -> str:
        """Return this address, or that of what lies `below` it with the same rows."""
        return self._at(below, self.asked, self.skip)

    @property
    def newer(self) -> str:
        """The rows before these; empty where there are none."""
        return self._at("", self.asked, max(0, self.skip - ROWS)) if self.skip else ""

    @property
    def older(self) -> str:
        """The rows after these; whoever shows them knows whether there are some."""
        return self._at("", self.asked, self.skip + ROWS)

    def count(self, rows: int) -> str:
        """Return how many rows are shown, and from which on (R45)."""
        shown = f"Showing {counted(rows, 'row')}"
        return f"{shown}, from row {self.skip + 1:,} on" if self.skip else shown

    def _at(self, below: str, asked: dict[str, str], skip: int) -> str:
        query = {name: one for name, one in asked.items() if one}
        if skip:
            query[_SKIP] = str(skip)
        path = f"{self.path}{below}"
        return f"{path}?{urlencode(query)}" if query else path


def read_address(path: str, query: QueryParams, *names: str) -> ListAddress:
    """Return what a query asks for under these names; a place that is no number is the first."""
    skip = query.get(_SKIP, "")
    return ListAddress(
        path=path,
        asked={name: query.get(name, "") for name in names},
        skip=min(int(skip), SKIP_MAX) if is_number(skip) else 0,
    )


def wrong_date(error: BadRequest) -> str:
    """Return which field of a list's range of dates, `from` or `to`, a refusal is of."""
    return "to" if str(error).startswith("The end date") else "from"
