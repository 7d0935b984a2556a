"""`Page`: one route, with what a person needs to be allowed for it. Every route is declared as one.

The guard alone decides who gets in; the function behind a page is called with who that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tailrace.accounts.membership import Person
from tailrace.accounts.projects import Project
from tailrace.accounts.roles import Action
from tailrace.accounts.sessions import Session
from tailrace.web.numbers import is_number
from tailrace.web.site import Site

Method = Literal["GET", "POST"]

# "anybody" is for pages that let people in; "signed in" for what is everybody's own.
Needs = Action | Literal["anybody", "signed in"]


class Visitor(msgspec.Struct, frozen=True):
    """Who asks, as what, in which organization; `project` where the address names one (`{p}`)."""

    session: Session
    member: Person
    project: Project | None = None

    @property
    def name(self) -> str:
        """What they are called in the audit trail."""
        return self.member.email

    @property
    def organization(self) -> int:
        """The organization that all they see belongs to: what functions call `within`."""
        return self.member.organization

    @property
    def in_project(self) -> Project:
        """The project of an address with `{p}`."""
        if self.project is None:
            raise LookupError("this page's address names no project")
        return self.project


class Visit(msgspec.Struct, frozen=True):
    """One request that the guard let in. `form` is empty for GET; `visitor` None for "anybody"."""

    site: Site
    request: Request
    form: Mapping[str, tuple[str, ...]]
    visitor: Visitor | None = None

    @property
    def by(self) -> Visitor:
        """Who asks; never missing on a page that needs a role or to be signed in."""
        if self.visitor is None:
            raise LookupError("this page is for anybody, so nobody is known")
        return self.visitor

    def field(self, name: str) -> str:
        """Return a form's field, empty if it was not sent; the last one where there are several."""
        return (self.form.get(name) or ("",))[-1]

    def fields(self, name: str) -> tuple[str, ...]:
        """Return every value of a form's field."""
        return self.form.get(name, ())

    def number_typed(self, name: str) -> int | None:
        """Return a whole number of a form's field; None for what is none that there can be."""
        text = self.field(name)
        return int(text) if is_number(text) else None

    def number(self, name: str) -> int:
        """Return a number of the address."""
        return int(self.request.path_params[name])


Show = Callable[[Visit], Response]


class Page(msgspec.Struct, frozen=True):
    """One address and method. `show` may block: it is called in a thread.

    Raise from it: `BadRequest` is a 400 with its sentence, `NotAllowed` a 403, `NotThere` a 404,
    `Transient` and a database that does not answer a 503.
    """

    path: str
    show: Show
    needs: Needs
    method: Method = "GET"


class NotThere(LookupError):
    """There is nothing at this address, or nothing that the visitor may know of."""
