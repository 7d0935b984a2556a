"""Setting a destination up step by step, as the pages do it: drafts, and what becomes of them.

What is typed is kept at each step, right or wrong, so that nobody types it twice; a destination is
made once all of it can be right, and it exports only after its access was verified.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tailrace.app.destinations import Access, checked_endpoint, keep_access, with_last_slash
from tailrace.app.policy import principal_typed
from tailrace.clock import Clock
from tailrace.errors import BadRequest, Corrupt
from tailrace.export.bucket_names import (
    check_bucket_name,
    check_external_id,
    check_region,
    check_role,
)
from tailrace.export.encryption import check_kms_key
from tailrace.export.endpoints import check_endpoint
from tailrace.export.policy import check_principal, is_amazon, partition_of
from tailrace.seal.names import check_prefix
from tailrace.settings import Settings
from tailrace.state.delivery import Destination
from tailrace.state.destinations import Destinations, NewDestination
from tailrace.state.drafts import Choices, Draft, Drafts, access_of
from tailrace.state.editing import changed
from tailrace.state.secrets import Secrets

Rule = tuple[str, Callable[[], object]]


class SettingUp:
    """The set-ups of one project. `machine` is the machine's clock."""

    def __init__(
        self,
        project: int,
        drafts: Drafts,
        destinations: Destinations,
        secrets: Secrets,
        settings: Settings,
        *,
        machine: Clock,
    ) -> None:
        self._project = project
        self._drafts = drafts
        self._destinations = destinations
        self._secrets = secrets
        self._settings = settings
        self._machine = machine

    def begin(self, choices: Choices) -> Draft:
        """Begin a set-up with the name and the data that were chosen.

        Raise `BadRequest` for a name that no destination can have, and for no data.
        """
        name = self._destinations.check_name(self._project, choices.name)
        begun = msgspec.structs.replace(_with_data(choices), name=name)
        return self._drafts.begin(self._project, begun)

    def go_on(self, destination: Destination) -> Draft:
        """Return the set-up of a destination that does not export yet, such as one of a command."""
        if destination.state != "setting_up":
            raise BadRequest(
                f"Destination {destination.id} is set up. Change it with its configuration."
            )
        choices = choices_of(destination)
        return self._drafts.begin(self._project, choices, destination_id=destination.id)

    def get(self, number: int) -> Draft:
        """Return a set-up; raise `BadRequest` where there is none of that number."""
        return self._drafts.get(self._project, number)

    def destination_of(self, draft: Draft) -> Destination | None:
        """Return what a set-up has become, or None while its bucket is not known."""
        if draft.destination_id is None:
            return None
        return self._destinations.get(draft.destination_id)

    def choose_data(self, number: int, choices: Choices, *, seen: str = "") -> Draft:
        """Keep the name and which data is to be exported; what was typed of the bucket stays.

        `seen` is the version of the set-up that was shown; empty for any. Raise `BadRequest` as
        `begin` does, and `ChangedMeanwhile` where somebody else chose something else.
        """
        name = self._check_name(self.get(number), choices.name)
        chosen = data_of(msgspec.structs.replace(_with_data(choices), name=name))
        draft = self._drafts.change(
            self._project,
            number,
            lambda before: msgspec.structs.replace(before, **chosen),
            seen=seen,
        )
        destination = self.destination_of(draft)
        if destination is not None:
            wanted = msgspec.structs.replace(destination, **chosen)
            try:
                self._write(destination, wanted)
            except BadRequest:
                if self._made(draft, chosen) is None:
                    raise
        return draft

    def name_of(self, draft: Draft | None) -> str:
        """Return what a set-up's destination is to be called, by itself unless somebody says so."""
        if draft is not None and draft.choices.name:
            return draft.choices.name
        seen = None if draft is None else self.destination_of(draft)
        return self._destinations.free_name(self._project) if seen is None else seen.name

    def keep(self, number: int, typed: Choices, secret: str = "", *, seen: str = "") -> Draft:
        """Keep what was typed of the bucket and of who is let in; the name and the data stay.

        Right or wrong; a `secret` that was typed is kept encrypted. `seen` is as in `choose_data`:
        what means the same as what is kept, with the same secret, is nothing else.
        """

        def seal(kept: bytes | None) -> bytes | None:
            return None if self._is_secret(secret, kept) else self._secrets.encrypt(secret)

        return self._drafts.change(
            self._project,
            number,
            lambda before: msgspec.structs.replace(typed, **data_of(before)),
            seal if secret and typed.access == "key" else None,
            seen=seen,
            meant=meant,
        )

    def keeps(self, draft: Draft, typed: Choices, secret: str) -> bool:
        """Tell whether a secret that was typed is the one that is kept with the typed key."""
        return self._is_secret(secret, self._drafts.kept_secret(draft, typed))

    def save(self, draft: Draft) -> Destination:
        """Make or change the destination of a set-up whose every rule is kept.

        Raise `BadRequest` for a bucket of another organization (D45), for an endpoint that may not
        be used, and for a name that was given away since it was chosen; `ChangedMeanwhile` where
        `draft` is not what is kept any more.
        """
        choices = draft.choices
        # Read before the draft is: a step that is saved after both finds this destination changed.
        seen = self.destination_of(self.get(draft.id))
        draft = self._drafts.require_unchanged(draft)
        access = keep_access(self._secrets, _access(choices))
        if choices.access == "key":
            kept = draft.secret_encrypted or (seen and seen.secret_encrypted)
            access = msgspec.structs.replace(
                access, access_key_id=choices.access_key_id, secret_encrypted=kept
            )
        fields = {
            "name": self.name_of(draft),
            "bucket": check_bucket_name(choices.bucket),
            "region": check_region(choices.region, choices.endpoint_url or None),
            "prefix": check_prefix(with_last_slash(choices.prefix)),
            "endpoint_url": checked_endpoint(self._settings, choices.endpoint_url or None),
            "include_events": choices.include_events,
            "include_merged_ids": choices.include_merged_ids,
            **encryption_typed(choices),
            **msgspec.structs.asdict(access),
        }
        try:
            self._check_name(draft, fields["name"])
            if seen is None:
                new = NewDestination(project=self._project, **fields)
                return self._destinations.add(new, draft=draft.id, draft_seen=draft.version)
            self._write(seen, msgspec.structs.replace(seen, **fields))
        except BadRequest:
            made = self._made(draft, fields)
            if made is None:
                raise
            return made
        self._drafts.forget_secret(self._project, draft.id)
        return self._destinations.get(seen.id)

    def discard(self, number: int) -> None:
        """Forget a set-up, and delete the destination that exports nothing yet."""
        draft = self.get(number)
        seen = self.destination_of(draft)
        self._drafts.discard(self._project, number)
        if seen is not None and seen.state == "setting_up":
            now = self._machine.now_micros()
            self._destinations.delete(seen.id, aborted=(), now_micros=now)

    def data_rules(self, draft: Draft | None, choices: Choices) -> Iterator[Rule]:
        """Yield the rules of the first step, as `rules` does those of the second."""
        yield "name", lambda: self._check_name(draft, choices.name)
        yield "data", lambda: _with_data(choices)

    def rules(self, draft: Draft, choices: Choices) -> Iterator[Rule]:
        """Yield each field of what is typed with its rule, which raises `BadRequest`.

        Nothing is asked of networks. The rules of an access that was not chosen are left out.
        """
        yield from rules_of(self._settings, choices, lambda: self._check_secret(draft, choices))

    def _check_name(self, draft: Draft | None, name: str) -> str:
        own = None if draft is None else draft.destination_id
        return self._destinations.check_name(self._project, name, but=own)

    def _check_secret(self, draft: Draft, choices: Choices) -> None:
        seen = self.destination_of(draft)
        same = seen is not None and seen.access_key_id == choices.access_key_id
        if draft.secret_encrypted is None and not same:
            raise BadRequest("Type the secret that goes with the access key.")

    def _is_secret(self, secret: str, kept: bytes | None) -> bool:
        try:
            return kept is not None and self._secrets.decrypt(kept) == secret
        except Corrupt:
            # Of another key file: what is typed takes its place.
            return False

    def _made(self, draft: Draft, fields: dict[str, Any]) -> Destination | None:
        """Return what a set-up has become if all of this holds of it, though that was refused.

        The second of two presses finds what the first one made, and wants no more. Raise
        `ChangedMeanwhile` where the set-up is another one by now: that is the reason then.
        """
        made = self.destination_of(self.get(draft.id))
        if made is not None and made.state == "setting_up":
            wanted = msgspec.structs.replace(made, **fields)
            if not changed(made, wanted):
                return made
        self._drafts.require_unchanged(draft)
        return None

    def _write(self, seen: Destination, wanted: Destination) -> None:
        if seen.state != "setting_up":
            raise BadRequest(
                f"Destination {seen.id} is set up already. Change it with its configuration."
            )
        if changed(seen, wanted):
            now = self._machine.now_micros()
            self._destinations.edit(seen, wanted, None, now_micros=now)


def rules_of(
    settings: Settings, choices: Choices, check_secret: Callable[[], object]
) -> Iterator[Rule]:
    """Yield each field of a bucket's form with its rule; `check_secret` is that of the secret."""
    endpoint_url = choices.endpoint_url or None
    yield "bucket", lambda: check_bucket_name(choices.bucket)
    yield "region", lambda: check_region(choices.region, endpoint_url)
    yield "prefix", lambda: check_prefix(with_last_slash(choices.prefix))
    if endpoint_url is not None:
        yield "endpoint_url", lambda: check_endpoint(endpoint_url, private_allowed=True)
    if choices.encryption == "aws:kms":
        yield "kms_key_arn", lambda: _check_kms_key(choices)
    if choices.access == "role":
        yield "role_arn", lambda: check_role(choices.role_arn)
        if choices.external_id:
            yield "external_id", lambda: check_external_id(choices.external_id)
        return
    if choices.access == "key":
        yield "access_key_id", lambda: _check_key_id(choices)
        yield "secret_access_key", check_secret
    if choices.principal:
        partition = partition_of(choices.region, endpoint_url)
        yield (
            "principal",
            lambda: check_principal(
                principal_typed(settings, choices), partition, ours=is_amazon(endpoint_url)
            ),
        )


def choices_of(destination: Destination) -> Choices:
    """Return what somebody would have chosen and typed for a destination."""
    return Choices(
        name=destination.name,
        include_events=destination.include_events,
        include_merged_ids=destination.include_merged_ids,
        bucket=destination.bucket,
        region=destination.region or "",
        prefix=destination.prefix,
        endpoint_url=destination.endpoint_url or "",
        access=access_of(destination),
        access_key_id=destination.access_key_id or "",
        role_arn=destination.role_arn or "",
        external_id=destination.external_id or "",
        encryption=destination.encryption or "",
        kms_key_arn=destination.kms_key_arn or "",
    )


def meant(choices: Choices) -> Choices:
    """Return choices as a destination would hold them, without what those not chosen say.

    What breaks its rule stays as it was typed. Nothing is asked of networks.
    """
    endpoint_url = choices.endpoint_url
    if endpoint_url:
        with contextlib.suppress(BadRequest):
            endpoint_url = check_endpoint(endpoint_url, private_allowed=True)
    is_key, is_role = choices.access == "key", choices.access == "role"
    return msgspec.structs.replace(
        choices,
        prefix=with_last_slash(choices.prefix),
        endpoint_url=endpoint_url,
        kms_key_arn=choices.kms_key_arn if choices.encryption == "aws:kms" else "",
        access_key_id=choices.access_key_id if is_key else "",
        role_arn=choices.role_arn if is_role else "",
        external_id=choices.external_id if is_role else "",
        principal="" if is_role else choices.principal,
    )


def encryption_typed(choices: Choices) -> dict[str, str | None]:
    """Return the fields of the encryption that was chosen; a key of another one says nothing."""
    return {
        "encryption": choices.encryption or None,
        "kms_key_arn": choices.kms_key_arn if choices.encryption == "aws:kms" else None,
    }


def data_of(choices: Choices) -> dict[str, Any]:
    """Return the fields of the first step."""
    return {
        "name": choices.name,
        "include_events": choices.include_events,
        "include_merged_ids": choices.include_merged_ids,
    }


def _with_data(choices: Choices) -> Choices:
    if not choices.include_events and not choices.include_merged_ids:
        raise BadRequest("Choose what to export: tick events, merged Amplitude IDs, or both.")
    return choices


def _access(choices: Choices) -> Access:
    """Return the access that was typed, but for an access key, whose secret is kept already."""
    if choices.access != "role":
        return Access()
    return Access(role_arn=choices.role_arn, external_id=choices.external_id or None)


def _check_kms_key(choices: Choices) -> None:
    if not choices.kms_key_arn:
        raise BadRequest("Type the ARN of the KMS key that encrypts.")
    endpoint_url = choices.endpoint_url or None
    try:
        region = check_region(choices.region, endpoint_url)
    except BadRequest:
        # It is told beside its own field.
        region = None
    check_kms_key(choices.kms_key_arn, region, endpoint_url)


def _check_key_id(choices: Choices) -> None:
    if not choices.access_key_id.strip():
        raise BadRequest("Type the ID of the access key.")
