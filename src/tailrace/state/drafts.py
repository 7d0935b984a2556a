"""The rows of set-ups that people have begun on the pages, until a destination exports.

A draft is a project's, not a person's: whoever may manage destinations goes on with it. Once its
bucket is known there is a destination that is being set up, and the draft leads to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tailrace.errors import BadRequest, ChangedMeanwhile
from tailrace.state.audited import Audited
from tailrace.state.database import next_number, reading
from tailrace.state.delivery import Destination
from tailrace.state.projects import organization_of_project, projects_within
from tailrace.state.tables import destination, draft

AccessKind = Literal["operator", "role", "key"]
# That of `Destination`; empty: the bucket's default.
EncryptionKind = Literal["", "AES256", "aws:kms"]

# Makes what is to be kept of a typed secret from what is kept with its key: None for the same one.
Seal = Callable[[bytes | None], bytes | None]

# A project with more unfinished set-ups has none that anybody goes on with.
DRAFTS_MAX = 50


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen and typed so far; texts as they were typed, and not checked yet.

    Without a `name` it was begun by an earlier release, and gets the one that is offered.
    `principal` is whom the policy lets in; empty for the operator's principal, or a role itself.
    """

    name: str = ""
    include_events: bool = True
    include_merged_ids: bool = False
    bucket: str = ""
    region: str = ""
    prefix: str = ""
    endpoint_url: str = ""
    access: AccessKind = "operator"
    principal: str = ""
    access_key_id: str = ""
    role_arn: str = ""
    external_id: str = ""
    encryption: EncryptionKind = ""
    kms_key_arn: str = ""


class Draft(msgspec.Struct, frozen=True):
    """A set-up that was begun. Times are the service's, in microseconds.

    `secret_encrypted` goes with the choices' access key. `destination_id` is what it has become.
    """

    id: int
    project: int
    choices: Choices
    secret_encrypted: bytes | None
    secret_set_micros: int | None
    secret_set_by: str | None
    destination_id: int | None
    created_micros: int
    changed_micros: int
    changed_by: str

    @property
    def version(self) -> str:
        """What stands for all that was chosen, and for the secret that was typed, as it is now.

        A form holds it, so that what somebody else chose meanwhile is not put back unseen.
        """
        told = (self.choices, self.secret_set_micros)
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def verbatim(choices: Choices) -> Choices:
    """Return choices of which every text counts as it was typed."""
    return choices


_BY_ANOTHER = "Somebody changed this set-up meanwhile"
# Another tab of one's own, or a page that the browser kept.
_BY_ONESELF = "This set-up was changed since you opened this form"
_STILL_HERE = "What you typed is still here: look at it once more, and send it again."
_choices_decoder = msgspec.json.Decoder(Choices)


class Drafts(Audited):
    """Begin, find, change and discard drafts. `by` names who does so.

    To `within`, an organization whose person acts, others' projects and drafts do not exist.
    """

    KIND = "draft"

    def begin(self, project: int, choices: Choices, *, destination_id: int | None = None) -> Draft:
        """Keep a new draft; `destination_id` where it goes on with one that is being set up.

        A destination has one draft: return that if there is one. Drafts of the project whose
        destination is set up, or deleted, are forgotten. Raise `BadRequest` for an unknown project,
        for a destination that is not the project's, and above `DRAFTS_MAX`.
        """
        with self._change() as connection:
            organization_of_project(connection, project, within=self.within)
            _forget_finished(connection, project)
            if destination_id is not None:
                _require_destination(connection, project, destination_id)
                known = _find(connection, draft.c.destination_id == destination_id)
                if known is not None:
                    return known
            count = sa.select(sa.func.count()).where(draft.c.project == project)
            if connection.execute(count).scalar_one() >= DRAFTS_MAX:
                raise BadRequest(
                    f"Project {project} has {DRAFTS_MAX} set-ups that were begun and not finished. "
                    "Finish or discard some of them first."
                )
            number = next_number(connection, "draft")
            now = self.clock.now_micros()
            connection.execute(
                draft.insert().values(
                    id=number,
                    project=project,
                    choices=_text(choices),
                    destination_id=destination_id,
                    created_micros=now,
                    changed_micros=now,
                    changed_by=self.by,
                )
            )
            return self._existing(connection, project, number)

    def get(self, project: int, number: int) -> Draft:
        """Return a project's draft; raise `BadRequest` if it has none of that number."""
        with reading(self.engine) as connection:
            return self._existing(connection, project, number)

    def of_destination(self, destination_id: int) -> Draft | None:
        """Return the draft that leads to a destination, None if there is none."""
        which = sa.and_(draft.c.destination_id == destination_id, self._is_within())
        with reading(self.engine) as connection:
            return _find(connection, which)

    def unfinished(self, project: int) -> list[Draft]:
        """Return the drafts whose destination does not export yet, the newest change first."""
        statement = (
            sa.select(draft)
            .where(draft.c.project == project, self._is_within(), ~_is_finished())
            .order_by(draft.c.changed_micros.desc(), draft.c.id.desc())
        )
        with reading(self.engine) as connection:
            return [_draft_of(row) for row in connection.execute(statement)]

    def change(
        self,
        project: int,
        number: int,
        choose: Callable[[Choices], Choices],
        seal: Seal | None = None,
        *,
        seen: str = "",
        meant: Callable[[Choices], Choices] = verbatim,
    ) -> Draft:
        """Keep what `choose` makes of what was chosen before, and what `seal` makes of a secret.

        Nobody else changes the draft between the two. A secret that was kept before is forgotten
        with its access key. `seen` is the version that was shown to whoever chooses; empty for any.

        Raise `BadRequest` for no draft, and `ChangedMeanwhile` if it is of another version by now
        and this would change what is `meant`; else a draft of another version stays as it is.
        """
        with self._change() as connection:
            before = self._existing(connection, project, number)
            choices = choose(before.choices)
            kept = _kept_secret(connection, before, choices)
            secret_encrypted = None if seal is None else seal(kept)
            if seen not in ("", before.version):
                if secret_encrypted is not None or meant(choices) != meant(before.choices):
                    raise self._changed(before, "nothing was taken of what you sent")
                return before
            if secret_encrypted is None and choices == before.choices:
                return before
            now = self.clock.now_micros()
            values: dict[str, Any] = {
                "choices": _text(choices),
                "changed_micros": now,
                "changed_by": self.by,
            }
            if secret_encrypted is not None:
                values |= {
                    "secret_encrypted": secret_encrypted,
                    "secret_set_micros": now,
                    "secret_set_by": self.by,
                }
            elif _key(before.choices) != _key(choices):
                values |= dict.fromkeys(("secret_encrypted", "secret_set_micros", "secret_set_by"))
            _set(connection, number, **values)
            return self._existing(connection, project, number)

    def kept_secret(self, found: Draft, choices: Choices) -> bytes | None:
        """Return the secret that is kept with the access key of `choices`, None for none."""
        with reading(self.engine) as connection:
            return _kept_secret(connection, found, choices)

    def require_unchanged(self, seen: Draft) -> Draft:
        """Return a draft as it is now, if it is of the version that was `seen`.

        Raise `ChangedMeanwhile` if it is not, and `BadRequest` if there is none any more.
        """
        now = self.get(seen.project, seen.id)
        if now.version != seen.version:
            raise self._changed(now, "it was not saved")
        return now

    def forget_secret(self, project: int, number: int) -> None:
        """Forget the draft's copy of a secret that its destination has now."""
        with self._change() as connection:
            self._existing(connection, project, number)
            _set(connection, number, secret_encrypted=None)

    def discard(self, project: int, number: int) -> None:
        """Forget a draft; its destination, if it has one, is the caller's to delete."""
        with self._change() as connection:
            self._existing(connection, project, number)
            connection.execute(draft.delete().where(draft.c.id == number))

    def _existing(self, connection: Connection, project: int, number: int) -> Draft:
        which = sa.and_(draft.c.id == number, draft.c.project == project, self._is_within())
        found = _find(connection, which)
        if found is None:
            raise BadRequest(
                f"There is no set-up {number} in this project: it was finished or discarded. Begin "
                "a new one."
            )
        return found

    def _changed(self, now: Draft, so: str) -> ChangedMeanwhile:
        who = _BY_ONESELF if now.changed_by == self.by else _BY_ANOTHER
        return ChangedMeanwhile(f"{who}, so {so}. {_STILL_HERE}")

    def _is_within(self) -> sa.ColumnElement[bool]:
        return draft.c.project.in_(projects_within(self.within))


def attach(connection: Connection, number: int, project: int, destination_id: int) -> None:
    """Let a project's draft lead to the destination that the caller's transaction adds.

    Raise `ChangedMeanwhile` as `require_open`: somebody else was quicker.
    """
    require_open(connection, number, project)
    _set(connection, number, destination_id=destination_id, secret_encrypted=None)


def require_open(connection: Connection, number: int, project: int, seen: str = "") -> None:
    """Raise `ChangedMeanwhile` if a project's draft is gone, or leads to a destination already.

    And if it is not of the version that was `seen`; empty for any.
    """
    found = _find(connection, sa.and_(draft.c.id == number, draft.c.project == project))
    is_there = found is not None and found.destination_id is None
    if found is None or not is_there or seen not in ("", found.version):
        raise ChangedMeanwhile(
            "Somebody saved, changed or discarded this set-up meanwhile, so it was not saved. Look "
            "at what is there, and save again."
        )


def follow(
    connection: Connection,
    now: Destination,
    changes: Mapping[str, object],
    *,
    at_micros: int,
    by: str,
) -> None:
    """Let the draft that leads to a destination hold what was changed of it, by whatever means.

    What is typed there and not saved stays, but for these fields. A secret that the destination has
    now is not kept twice.
    """
    found = _find(connection, draft.c.destination_id == now.id)
    if found is None:
        return
    known: dict[str, Any] = {
        name: "" if value is None else value
        for name, value in changes.items()
        if name in Choices.__struct_fields__
    }
    if {"access_key_id", "role_arn"} & changes.keys():
        known["access"] = access_of(now)
    choices = msgspec.structs.replace(found.choices, **known)
    if _let_in(choices) != _let_in(found.choices):
        # Whom the policy was to let in is another principal now.
        choices = msgspec.structs.replace(choices, principal="")
    values: dict[str, Any] = {}
    if "secret_encrypted" in changes:
        is_kept = now.secret_encrypted is not None
        values = {
            "secret_encrypted": None,
            "secret_set_micros": at_micros if is_kept else None,
            "secret_set_by": by if is_kept else None,
        }
    if choices != found.choices or values:
        values |= {"choices": _text(choices), "changed_micros": at_micros, "changed_by": by}
        _set(connection, found.id, **values)


def access_of(found: Destination) -> AccessKind:
    """Return by which kind of access a destination is let in."""
    if found.access_key_id is not None:
        return "key"
    return "operator" if found.role_arn is None else "role"


def _let_in(choices: Choices) -> tuple[str, str]:
    names = {"key": choices.access_key_id, "role": choices.role_arn, "operator": ""}
    return choices.access, names[choices.access]


def _forget_finished(connection: Connection, project: int) -> None:
    connection.execute(draft.delete().where(draft.c.project == project, _is_finished()))


def _is_finished() -> sa.ColumnElement[bool]:
    return sa.exists().where(
        destination.c.id == draft.c.destination_id, destination.c.state != "setting_up"
    )


def _key(choices: Choices) -> tuple[str, str]:
    return choices.access, choices.access_key_id


def _kept_secret(connection: Connection, before: Draft, choices: Choices) -> bytes | None:
    """Return the secret of the chosen key: the draft's, or that of what the draft has become."""
    if before.secret_encrypted is not None and _key(before.choices) == _key(choices):
        return before.secret_encrypted
    statement = sa.select(destination.c.secret_encrypted).where(
        destination.c.id == before.destination_id,
        destination.c.access_key_id == choices.access_key_id,
    )
    return connection.execute(statement).scalar_one_or_none()


def _require_destination(connection: Connection, project: int, number: int) -> None:
    found = sa.select(destination.c.id).where(
        destination.c.id == number, destination.c.project == project
    )
    if connection.execute(found).one_or_none() is None:
        raise BadRequest(f"There is no destination {number} in this project.")


def _find(connection: Connection, which: sa.ColumnElement[bool]) -> Draft | None:
    row = connection.execute(sa.select(draft).where(which)).one_or_none()
    return None if row is None else _draft_of(row)


def _set(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(draft.update().where(draft.c.id == number).values(**values))


def _text(choices: Choices) -> str:
    return msgspec.json.encode(choices).decode()


def _draft_of(row: Row[Any]) -> Draft:
    return Draft(
        id=row.id,
        project=row.project,
        choices=_choices_decoder.decode(row.choices),
        secret_encrypted=row.secret_encrypted,
        secret_set_micros=row.secret_set_micros,
        secret_set_by=row.secret_set_by,
        destination_id=row.destination_id,
        created_micros=row.created_micros,
        changed_micros=row.changed_micros,
        changed_by=row.changed_by,
    )
