"""Which destinations meet in a bucket: those of one organization only, and under which keys."""

from __future__ import annotations

from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.errors import BadRequest
from tailrace.state.tables import destination, manual_export


def store_of(endpoint_url: str | None) -> str:
    """Return the name under which a bucket is unique: a host with its port, or Amazon S3."""
    if endpoint_url is None:
        return "amazon"
    host = urlsplit(endpoint_url).netloc.lower()
    return "amazon" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else host


def sharing(connection: Connection, destination_id: int) -> list[int]:
    """Return the destinations that share their keys with this one, and itself."""
    place = (destination.c.bucket, destination.c.prefix, destination.c.endpoint_url)
    own = connection.execute(sa.select(*place).where(destination.c.id == destination_id)).one()
    rows = connection.execute(
        sa.select(destination.c.id, destination.c.endpoint_url).where(
            destination.c.bucket == own.bucket, destination.c.prefix == own.prefix
        )
    )
    store = store_of(own.endpoint_url)
    return [row.id for row in rows if store_of(row.endpoint_url) == store]


def refuse_shared_bucket(
    connection: Connection, organization: int, bucket: str, endpoint_url: str | None
) -> None:
    """Raise if another organization exports to the bucket, every hour or by hand (D45).

    Only what has passed its probes does so: a bucket that was merely named is nobody's, or anyone
    could shut its owner out. Called again in the transaction in which exporting begins.
    """
    by_hand = sa.exists().where(
        manual_export.c.destination_id == destination.c.id,
        manual_export.c.state.in_(("running", "paused")),
    )
    others = connection.execute(
        sa.select(destination.c.endpoint_url).where(
            destination.c.bucket == bucket,
            destination.c.organization != organization,
            sa.or_(destination.c.state == "active", by_hand),
        )
    ).scalars()
    if any(store_of(other) == store_of(endpoint_url) for other in others):
        raise BadRequest(
            f"Cannot use bucket {bucket}: another organization on this installation exports to "
            "it. Use a bucket of your own."
        )
