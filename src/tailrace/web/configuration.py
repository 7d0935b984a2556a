"""The configuration of a destination, to be read: what goes where, who lets it in, who is told."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from tailrace.accounts.roles import allowed
from tailrace.app.describing import Described, describe
from tailrace.app.policy import place_of
from tailrace.errors import BadRequest
from tailrace.export.key_policy import key_lines
from tailrace.export.policy import (
    GRANTS,
    KEY_GRANTS,
    as_cli_lines,
    as_json,
    bucket_policy,
    key_statement,
)
from tailrace.notify.amounts import counted, moment
from tailrace.notify.recipients import of_destination
from tailrace.state.audit import entries
from tailrace.state.database import reading
from tailrace.state.delivery import Destination
from tailrace.web.configuration_values import (
    Facts,
    access_facts,
    content_facts,
    place_facts,
    secret_words,
)
from tailrace.web.destination_frame import BASE, destination_of, frame
from tailrace.web.page import Page, Visit
from tailrace.web.rendering import page


class PolicyView(msgspec.Struct, frozen=True):
    """The bucket policy as JSON and as lines; `why_not` says why there is none to show.

    `key` and `key_cli` are what the policy of a KMS key needs; empty without one.
    """

    text: str
    cli: str
    why_not: str
    key: str = ""
    key_cli: str = ""


def _configuration(visit: Visit) -> Response:
    site, destination = visit.site, destination_of(visit)
    found = describe(site.engine, site.clock, destination.id, within=visit.by.organization)
    around = frame(visit, destination)
    may_manage = allowed(visit.by.member.role, "manage_destinations")
    return page(
        visit,
        "configuration.html",
        title="Configuration",
        frame=around,
        content=content_facts(destination),
        bucket=place_facts(destination, found.earlier_places),
        access=access_facts(
            destination, found.access, site.settings.aws.principal_arn, _secret(visit, destination)
        ),
        about=_about(found),
        policy=policy_view(visit, destination),
        grants=GRANTS,
        key_grants=KEY_GRANTS if destination.kms_key_arn else (),
        mails=mail_words(visit, destination),
        edit=f"{around.path}/edit" if may_manage else "",
    )


def policy_view(visit: Visit, destination: Destination) -> PolicyView:
    """Return the policy that the destination's bucket needs."""
    try:
        at = place_of(visit.site.settings, destination)
    except BadRequest:
        if destination.access_key_id is not None:
            why_not = "Whose the access key is can't be told, so the policy can't name them."
        else:
            why_not = "Whom the policy lets in is not known: whoever runs tailrace has not said."
        return PolicyView("", "", why_not)
    return PolicyView(
        text=as_json(bucket_policy(at)),
        cli=as_cli_lines(at),
        why_not="",
        key=as_json(key_statement(at)) if at.kms_key else "",
        key_cli=key_lines(at) if at.kms_key else "",
    )


def mail_words(visit: Visit, destination: Destination) -> str:
    """Return who is told of an outage; addresses only to those who may see them."""
    with reading(visit.site.engine) as connection:
        to = of_destination(connection, destination, operator=())
    if not to:
        return "whoever runs tailrace, since there is no admin"
    if not allowed(visit.by.member.role, "see_mails"):
        return counted(len(to), "person").replace("persons", "people")
    return ", ".join(to)


def _secret(visit: Visit, destination: Destination) -> str:
    if destination.access_key_id is None:
        return ""
    trail = entries(visit.site.engine, of=f"destination {destination.id}")
    return secret_words(destination.access_key_id, trail)


def _about(found: Described) -> Facts:
    one = found.destination
    rows = [
        ("Name", one.name),
        ("Number", f"{one.id}"),
        ("Added", f"{moment(one.created_micros)} by {found.created_by}"),
    ]
    if one.state == "paused" and one.paused_micros is not None:
        rows.append(("Automatic exports", f"off since {moment(one.paused_micros)}"))
    return tuple(rows)


PAGES = (Page(f"{BASE}/configuration", _configuration, "see"),)
