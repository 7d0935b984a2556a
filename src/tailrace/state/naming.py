"""What destinations are called: which names there can be, and which are free in a project.

A part of `Destinations`. Names are one project's: no two of its destinations that are not deleted
have the same, capitals or not.
"""

from __future__ import annotations

import itertools

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace import names
from tailrace.errors import BadRequest
from tailrace.state.database import reading
from tailrace.state.destination_book import DestinationBook
from tailrace.state.projects import organization_of_project
from tailrace.state.tables import destination, draft

# As long as a row of a list and the subject of a mail can hold.
NAME_CHARACTERS_MAX = 60
# What one is called for which nobody has chosen a name.
DEFAULT_NAME = "Amazon S3"


class _Chosen(msgspec.Struct, frozen=True):
    """The name among what was chosen in a set-up; one begun by an earlier release has none."""

    name: str = ""


_chosen_decoder = msgspec.json.Decoder(_Chosen)


class Naming(DestinationBook):
    """Tell which names a project's destinations may have."""

    def check_name(self, project: int, name: str, *, but: int | None = None) -> str:
        """Return a name without blanks around it if a destination may be given it.

        `but` is that destination, if there is one already. Raise `BadRequest` that says the rule.
        """
        with reading(self.engine) as connection:
            organization_of_project(connection, project, within=self.within)
            return checked_name(connection, project, name, but=but)

    def free_name(self, project: int) -> str:
        """Return the name that is offered for a project's next destination."""
        with reading(self.engine) as connection:
            organization_of_project(connection, project, within=self.within)
            return free_name(connection, project)


def checked_name(connection: Connection, project: int, name: str, *, but: int | None = None) -> str:
    """Return a name as it is kept; `but` is the number of the destination that is to have it.

    Raise `BadRequest` for one that can't be shown, and for one that another destination has.
    """
    kept = names.checked_name(name, "destination", characters_max=NAME_CHARACTERS_MAX)
    for row in connection.execute(_living(project)):
        if row.id != but and names.folded_name(row.name) == names.folded_name(kept):
            raise BadRequest(
                f"Cannot name the destination {kept!r}: destination {row.id} of the same "
                f"project is named {row.name!r}, and neither capitals nor how letters are typed "
                "make another name. Choose another."
            )
    return kept


def free_name(connection: Connection, project: int) -> str:
    """Return `DEFAULT_NAME`, with a number if a destination or a set-up of the project has it."""
    begun = sa.select(draft.c.choices).where(draft.c.project == project)
    taken = {names.folded_name(row.name) for row in connection.execute(_living(project))}
    taken |= {
        names.folded_name(_chosen_decoder.decode(choices).name)
        for choices in connection.execute(begun).scalars()
    }
    numbered = (f"{DEFAULT_NAME} {number}" for number in itertools.count(2))
    offered = itertools.chain((DEFAULT_NAME,), numbered)
    return next(name for name in offered if names.folded_name(name) not in taken)


def _living(project: int) -> sa.Select[tuple[int, str]]:
    return (
        sa.select(destination.c.id, destination.c.name)
        .where(destination.c.project == project, destination.c.state != "deleted")
        .order_by(destination.c.id)
    )
