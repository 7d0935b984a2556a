"""An invited person's way in: the link on the admin's page, and the form behind it."""

from __future__ import annotations

import re

from tests.web.conftest import Visitor
from tests.web.reading import Read

PEOPLE = "/settings/people"
DANA, KIM = "dana@acme.example", "kim@acme.example"
NEW = "another long password"


def invite(by: Visitor, email: str = KIM, role: str = "viewer") -> Read:
    """Add a person by the page; return what the admin is shown."""
    return by.post(PEOPLE, {"email": email, "role": role}, status=200)


def link_in(shown: Read) -> str:
    """Return the sign-in link that is shown."""
    (link,) = re.findall(r"Copy sign-in link (\S+/join/[0-9a-f]{64})", shown.text)
    return str(link)


def path_in(shown: Read) -> str:
    """Return its path."""
    return "/join/" + link_in(shown).partition("/join/")[2]


def join(visitor: Visitor, path: str, password: str = NEW, status: int = 303) -> Read:
    """Open a link and choose a password."""
    form = visitor.get(path)
    fields = {"password": password, "again": password}
    return visitor.post(path, fields, status=status, token=form.field("form_token"))
