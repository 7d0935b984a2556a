"""The probes of a destination's access, one by one: what each asks, and what its answer means.

Called by `verify.py`, which says in what order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
from botocore.exceptions import (
    ClientError,
    ParamValidationError,
)

from tailrace.errors import NeedsCustomer, TailraceError
from tailrace.export.answers import ACTIONS, REGION_TITLE
from tailrace.export.diagnose import diagnose, take_region
from tailrace.export.encryption import encryption_options
from tailrace.export.objects import STORE_ERRORS, code_of, is_precondition, status_of
from tailrace.export.outcomes import (
    NO_CLIENT,
    UNREACHABLE,
    Outcome,
    outcome_of,
    outcome_without_client,
)
from tailrace.export.policy import ACCESS_CHECK
from tailrace.export.probe import ProbeObject
from tailrace.state.delivery import Cause, Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_REGION_HEADER = "x-amz-bucket-region"

# What people call the probes.
_NAMES = {
    "HeadBucket": "Find the bucket",
    "ListObjectsV2": "List the prefix",
    "PutObject": "Write a test object",
    "GetObject": "Read it back",
    "CreateMultipartUpload": "Begin an upload in parts",
    "UploadPart": "Write a part",
    "CompleteMultipartUpload": "End an upload in parts",
    "AbortMultipartUpload": "Give the upload up",
    "DeleteObject": "Remove the test object",
}


class Planned(msgspec.Struct, frozen=True):
    """A probe that every run makes or says that it could not."""

    call: str
    action: str
    name: str


# In their order. A store's conditions and sums are asked for besides, and told only if that fails.
PLANNED = tuple(
    Planned(call, ACTIONS[call], name)
    for call, name in _NAMES.items()
    if call != "CompleteMultipartUpload"
)


class Step(msgspec.Struct, frozen=True):
    """One probe: the call, the action it needs, and how it ended. `cause` holds the evidence."""

    call: str
    action: str
    outcome: Outcome
    cause: Cause | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return _NAMES[self.call]


Told = Callable[[Step], None]


class ClientSource(Protocol):
    """Where clients come from."""

    def of(self, destination: Destination) -> S3Client:
        """Return a client in the destination's region."""
        ...

    def open_in(self, destination: Destination, region: str) -> S3Client:
        """Return a client in another region."""
        ...


def access_check_key(destination: Destination) -> str:
    """Return the one key that the probes write, overwrite and remove."""
    return f"{destination.prefix}{ACCESS_CHECK}{destination.id}"


def nobody(step: Step) -> None:
    """Nobody follows the steps while they happen."""


class Probes:
    """The probes of one run and what they found."""

    def __init__(
        self, destination: Destination, clients: ClientSource, told: Told, *, kept: bool = True
    ) -> None:
        self.steps: list[Step] = []
        self.region: str | None = None
        self._destination = destination
        self._clients = clients
        self._told = told
        self._kept = kept
        self._told_of = 0
        self.left_behind: list[str] = []
        self._object = ProbeObject(
            destination.bucket, access_check_key(destination), encryption_options(destination)
        )
        self._client: S3Client | None = None
        self._ended = False
        self._written = False
        # What is, or may be, in the bucket because of these probes.
        self._object_there = False

    def head_bucket(self) -> None:
        """Find the bucket and its region."""
        try:
            self._client = self._clients.of(self._destination)
        except NO_CLIENT as error:
            cause = diagnose(error, self._destination, kept=self._kept)
            self._note("HeadBucket", outcome_without_client(error), cause)
            self._ended = True
            self._tell()
            return
        self._try("HeadBucket", lambda client: client.head_bucket(Bucket=self._destination.bucket))
        self._compare_region()
        if self.steps[0].outcome not in _WORDLESS:
            self._tell()

    def list_prefix(self) -> None:
        """List what begins with the prefix."""

        def call(client: S3Client) -> object:
            bucket, prefix = self._destination.bucket, self._destination.prefix
            return client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)

        self._try("ListObjectsV2", call)
        refused, outcome = self.steps[-1].cause, self.steps[-1].outcome
        lasting = self._ended or outcome == "refused"
        if lasting and refused and self.steps[0].outcome in _WORDLESS:
            # A HEAD's 403 or 400 has no body that could have said it: the credentials were refused
            # there, say, or the account.
            self.steps[0] = Step("HeadBucket", self.steps[0].action, outcome_of(refused), refused)
        self._tell()

    def put(self) -> bool:
        """Write the object; say whether it is there now."""
        self._written = self._try("PutObject", self._write) is not None
        # Without a clear answer the object may be there all the same.
        self._object_there = self._written or self.steps[-1].outcome in {"temporary", "unknown"}
        self._tell()
        return self._written

    def get(self) -> None:
        """Read the object back."""
        if not self._written:
            self._note("GetObject", "not tried")
        else:
            self._try("GetObject", self._read_back)
        self._tell()

    def multipart(self) -> bool:
        """Begin an upload, write a part, give it up; say whether all that went well."""
        upload_id = self._try("CreateMultipartUpload", self._object.create)
        if upload_id is None:
            self._note("UploadPart", "not tried")
            self._note("AbortMultipartUpload", "not tried")
            self._tell()
            return False
        self._tell()
        put = self._try("UploadPart", lambda client: self._object.part(client, upload_id))
        self._tell()
        aborted = self._try(
            "AbortMultipartUpload", lambda client: self._object.abort(client, upload_id)
        )
        self._tell()
        return put is not None and aborted is not None

    def put_if_absent(self) -> bool:
        """Say whether the store refuses a put onto the object that is there."""
        return self._heeds_condition("PutObject", self._object.put_if_absent)

    def complete_if_absent(self) -> bool:
        """Say whether the store refuses to complete an upload onto the object that is there."""
        return self._heeds_condition("CompleteMultipartUpload", self._object.complete_if_absent)

    def checksums(self) -> bool:
        """Say whether the store refuses bytes and uploads whose CRC32 is wrong."""
        return all(
            self._provoke(call, do, _is_checksum_refusal) == "refused"
            for call, do in (
                ("PutObject", self._object.put_wrongly_summed),
                ("CompleteMultipartUpload", self._object.complete_wrongly_summed),
            )
        )

    def delete(self) -> None:
        """Remove the object, and name what stays."""
        self.left_behind.extend(
            f"the multipart upload {upload_id} of {self._object.url}"
            for upload_id in self._object.uploads
        )
        if not self._object_there:
            self._note("DeleteObject", "not tried")
        elif self._written and not self._ended:
            if self._try("DeleteObject", self._object.delete) is None:
                self.left_behind.append(self._object.url)
        else:
            self._delete_what_may_be_there()
        self._object_there = False
        self._tell()

    def clean_up(self) -> None:
        """Remove what is in the bucket because of these probes, as far as that can be done."""
        client = self._client
        if client is None:
            return
        for upload_id in self._object.uploads:
            with contextlib.suppress(*STORE_ERRORS, TailraceError):
                self._object.abort(client, upload_id)
        with contextlib.suppress(*STORE_ERRORS, TailraceError):
            if self._object_there:
                self._object.delete(client)

    def _write(self, client: S3Client) -> object:
        # Noted before it is sent: whoever is interrupted meanwhile does not know how it ended.
        self._object_there = True
        return self._object.put(client)

    def _read_back(self, client: S3Client) -> object:
        try:
            return self._object.get(client)
        except ClientError as error:
            if code_of(error) != "NoSuchKey":
                raise
        # Other probes of this destination may just have removed it, such as those of an outage.
        self._object.put(client)
        return self._object.get(client)

    def _delete_what_may_be_there(self) -> None:
        """Remove the object where its put had no clear answer, or the probes have ended since."""
        assert self._client is not None
        try:
            self._object.delete(self._client)
        except (*STORE_ERRORS, TailraceError):
            self._note("DeleteObject", "not tried")
            unsure = "" if self._written else ", if it was written"
            self.left_behind.append(f"{self._object.url}{unsure}")
            return
        self._note("DeleteObject", "ok")

    def _heeds_condition(self, call: str, do: Callable[[S3Client], Any]) -> bool:
        # Accepted once says little: other probes of this destination may just have removed the
        # object. Now it is there again.
        for _ in range(2):
            answer = self._provoke(call, do, is_precondition)
            if answer != "accepted":
                return answer == "refused"
        return False

    def _try(self, call: str, do: Callable[[S3Client], Any]) -> Any:
        """Return what the call gave, or None after noting why it failed."""
        if self._ended or self._client is None:
            self._note(call, "not tried")
            return None
        try:
            answer = do(self._client)
        except (*STORE_ERRORS, TailraceError) as error:
            self._failed(call, error)
            return None
        if call == "HeadBucket":
            self.region = answer["ResponseMetadata"]["HTTPHeaders"].get(_REGION_HEADER)
        self._note(call, "ok")
        return answer

    def _provoke(
        self, call: str, do: Callable[[S3Client], Any], is_refusal: Callable[[ClientError], bool]
    ) -> Literal["refused", "accepted", "failed"]:
        """Ask for what the store should refuse; only trouble on the way is a failed step."""
        assert self._client is not None
        try:
            do(self._client)
        except ClientError as error:
            if is_refusal(error):
                return "refused"
            # A store that lacks a feature answers 400 or 501 to it; anything else is trouble.
            if status_of(error) not in {400, 405, 501}:
                self._failed(call, error)
        except STORE_ERRORS as error:
            self._failed(call, error)
        else:
            return "accepted"
        return "failed"

    def _failed(self, call: str, error: Exception) -> None:
        key = self._object.key if call not in {"HeadBucket", "ListObjectsV2"} else None
        cause = diagnose(error, self._destination, key, kept=self._kept)
        # botocore refuses a bucket name that can't be, before anything is sent.
        outcome = "settings" if isinstance(error, ParamValidationError) else outcome_of(cause)
        self._note(call, outcome, cause)
        if call == "HeadBucket" and isinstance(error, ClientError):
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self.region = headers.get(_REGION_HEADER)
        # Without a role there are no credentials to go on with.
        gone = cause.code == "NoSuchBucket" or cause.call == "AssumeRole"
        gone = gone or isinstance(error, UNREACHABLE)
        refused = outcome in {"operator", "settings"} and cause.code not in _REGION_CODES
        # What the store made of the object says nothing against removing it.
        refused = refused and not isinstance(error, NeedsCustomer)
        self._ended = self._ended or gone or refused

    def _compare_region(self) -> None:
        if self.region is None or self.region == self._clients_region():
            return
        if self.steps[0].outcome == "ok" or self.steps[0].outcome == "missing":
            self._note("HeadBucket", "settings", self._region_cause(self.region))
        # The other steps still tell which permissions are missing there.
        with contextlib.suppress(*NO_CLIENT):  # where the store names no real region
            self._client = self._clients.open_in(self._destination, self.region)

    def _clients_region(self) -> str:
        assert self._client is not None
        return self._client.meta.region_name

    def _region_cause(self, region: str) -> Cause:
        given = self._destination.region or self._clients_region()
        return Cause(
            kind="access",
            code="WrongRegion",
            sentence=f"Bucket {self._destination.bucket} lies in {region}, not in {given}.",
            fix=take_region(self._destination, region, kept=self._kept),
            call="HeadBucket",
            title=REGION_TITLE,
        )

    def _note(self, call: str, outcome: Outcome, cause: Cause | None = None) -> None:
        action = ACTIONS[call]
        if outcome == "missing" and cause is not None and cause.permission is not None:
            action = cause.permission
        self.steps.append(Step(call, action, outcome, cause))

    def _tell(self) -> None:
        """Tell of the steps whose outcome is certain now."""
        new, self._told_of = self.steps[self._told_of :], len(self.steps)
        for step in new:
            self._told(step)


# How a HEAD ends whose answer, without a body, does not say why.
_WORDLESS = {"missing", "unknown"}
_REGION_CODES = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}


def _is_checksum_refusal(error: ClientError) -> bool:
    # AWS says BadDigest, others InvalidRequest or a code of their own; with another right sum the
    # same request passed before.
    return status_of(error) == 400 and code_of(error) not in {"NotImplemented", "InvalidArgument"}
