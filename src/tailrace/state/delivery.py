"""The words of delivery: `Destination`, `Delivery`, `Cause`, and the states a run goes through.

Written by the ledger, read by `export`, the command line and every page that shows a run.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tailrace.hours import Hour

DataType = Literal["events", "merged-ids"]
RunState = Literal["pending", "running", "retrying", "failed", "conflict", "success", "cancelled"]
DestinationState = Literal["setting_up", "active", "paused", "deleted"]
CauseKind = Literal["access", "temporary", "operator", "conflict", "unknown"]
DeliveredHow = Literal["put", "found", "replaced"]
ManualExportState = Literal["running", "paused", "cancelled", "finished"]
TryOutcome = Literal["success", "retrying", "failed", "conflict", "lost", "let go", "cancelled"]

# Of a deleted destination only the history is left.
LIVING_STATES: tuple[DestinationState, ...] = ("setting_up", "active", "paused")

# In place of a manual export's number: the run is an automatic one.
AUTOMATIC = 0

RUN_STATES: tuple[RunState, ...] = (
    "pending",
    "running",
    "retrying",
    "failed",
    "conflict",
    "success",
    "cancelled",
)

# Every change of a run's state that may happen; the ledger's statements are built from this table.
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    "pending": frozenset({"running", "cancelled"}),
    # running to running: the lease ran out and the next holder took the row over.
    "running": frozenset(
        {"running", "pending", "retrying", "failed", "conflict", "success", "cancelled"}
    ),
    "retrying": frozenset({"running", "cancelled"}),
    # A returning access or a person sends them out again.
    "failed": frozenset({"retrying", "cancelled"}),
    "conflict": frozenset({"retrying", "cancelled"}),
    "success": frozenset(),
    "cancelled": frozenset(),
}

# Of a run's tries so many are kept, the newest.
TRIES_MAX = 10

# A run is owed until it is one of these (section "States" of the design: nothing is dropped).
SETTLED_STATES: tuple[RunState, ...] = ("success", "cancelled")
OWED_STATES: tuple[RunState, ...] = tuple(s for s in RUN_STATES if s not in SETTLED_STATES)


def states_before(state: RunState) -> tuple[RunState, ...]:
    """Return the states from which `state` may be reached."""
    return tuple(before for before in RUN_STATES if state in TRANSITIONS[before])


class Cause(msgspec.Struct, frozen=True):
    """Why a run did not succeed, as every page, mail and command prints it.

    `permission` is the missing action (`s3:PutObject`), if one is. `call`, `key`, `status` and
    `request_id` name the request that was refused, `host_id` and `region` what the store told of
    itself. `missing_actions` are all that the probes found
    missing, where probes found the cause. `title` is the sentence in a few words; empty where an
    earlier release found the cause.
    """

    kind: CauseKind
    code: str
    sentence: str
    fix: str
    permission: str | None = None
    call: str | None = None
    key: str | None = None
    status: int | None = None
    request_id: str | None = None
    missing_actions: tuple[str, ...] = ()
    title: str = ""
    host_id: str | None = None
    region: str | None = None

    @property
    def evidence(self) -> tuple[tuple[str, str], ...]:
        """What the store answered to what, as pages and mails print it: only what is known."""
        rows = (
            ("Call", self.call),
            ("Object", self.key),
            ("Answer", f"{self.status or ''} {self.code}".strip()),
            ("Request ID", self.request_id),
            ("Host ID", self.host_id),
            ("Region", self.region),
        )
        return tuple((name, value) for name, value in rows if value)


class Try(msgspec.Struct, frozen=True):
    """One try of a run that ended, in the service's time.

    `lost`: its holder died or hung, so nobody knows when it ended. `let go`: the service stopped,
    or a person paused the manual export.
    """

    began_micros: int
    ended_micros: int | None
    outcome: TryOutcome
    cause: Cause | None = None


# What a request says of an object's encryption; S3's own words.
Encryption = Literal["AES256", "aws:kms"]


class Capabilities(msgspec.Struct, frozen=True):
    """What a bucket's store was seen to do when the destination was set up."""

    conditional_put: bool
    conditional_complete: bool
    checksums: bool


class Destination(msgspec.Struct, frozen=True):
    """A bucket that receives one project's hours.

    `endpoint_url` None means Amazon S3 itself. Objects are put with the `encryption` that it names,
    under `kms_key_arn` if that is `aws:kms`; None leaves it to the bucket's default.

    Hours in `[from_hour, until_hour)` are owed while the destination is active; None means not yet
    chosen, and without end. `include_events` owes the hours of scope `project`,
    `include_merged_ids` those of scope `-organization`, and of these also the ones before
    `from_hour`, since the organization's first merge.

    `outage_since_micros` is set while access is refused; nothing is tried then but a probe at
    `next_probe_micros` (the machine's time). It was paused, or deleted, at `paused_micros` and
    `deleted_micros` (the service's time).
    """

    id: int
    organization: int
    project: int
    kind: Literal["amazon-s3"]
    name: str
    bucket: str
    region: str | None
    prefix: str
    endpoint_url: str | None
    access_key_id: str | None
    secret_encrypted: bytes | None
    role_arn: str | None
    external_id: str | None
    include_events: bool
    include_merged_ids: bool
    manifest: bool
    marker: bool
    state: DestinationState
    from_hour: Hour | None
    until_hour: Hour | None
    capabilities: Capabilities | None
    created_micros: int
    outage_since_micros: int | None = None
    outage_cause: Cause | None = None
    next_probe_micros: int | None = None
    paused_micros: int | None = None
    deleted_micros: int | None = None
    encryption: Encryption | None = None
    kms_key_arn: str | None = None

    @property
    def data_types(self) -> tuple[DataType, ...]:
        """The data types that it receives."""
        found: list[DataType] = []
        if self.include_events:
            found.append("events")
        if self.include_merged_ids:
            found.append("merged-ids")
        return tuple(found)

    def scope_of(self, data_type: DataType) -> int:
        """Return whose sealed hours it gets of a data type: the project's or -organization's."""
        return self.project if data_type == "events" else -self.organization


class Delivery(msgspec.Struct, frozen=True):
    """One run in a worker's hands: this hour, to this destination, under this lease.

    `attempts` counts this one, since the last time that all went well; `refusals` are those before
    it whose access was refused. `upload_key` and
    `upload_id` name a multipart upload that an earlier holder began and did not end: abort it.
    `manual_export` is `AUTOMATIC` or the number of a manual export; that may `overwrite` objects
    of other content, and once it is `cancelled` nothing is left to do but to clean up.
    `started_micros` is when this try began, by the service's clock, `tries` those before it.
    """

    destination_id: int
    data_type: DataType
    scope: int
    hour: Hour
    lease: int
    attempts: int
    refusals: int
    upload_key: str | None
    upload_id: str | None
    manual_export: int = AUTOMATIC
    overwrite: bool = False
    cancelled: bool = False
    started_micros: int = 0
    tries: tuple[Try, ...] = ()


class ManualExport(msgspec.Struct, frozen=True):
    """What a person asked to export of the past, to one destination.

    Hours in `[from_hour, until_hour)` were asked for. `events_until` and `merged_ids_until` are
    where it ends for a data type, because later hours were not sealed when it was started (D23);
    None without that data type. With `overwrite` objects of other content are replaced.
    """

    id: int
    destination_id: int
    from_hour: Hour
    until_hour: Hour
    events_until: Hour | None
    merged_ids_until: Hour | None
    overwrite: bool
    state: ManualExportState
    created_by: str
    created_micros: int
    finished_micros: int | None

    @property
    def data_types(self) -> tuple[DataType, ...]:
        """The data types that it exports."""
        found: list[DataType] = []
        if self.events_until is not None:
            found.append("events")
        if self.merged_ids_until is not None:
            found.append("merged-ids")
        return tuple(found)
