"""Probe a destination's access: each step needs one action, so failing steps name what is missing.

Called when a destination is added, on `tailrace verify`, and during an outage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ReadTimeoutError,
)

from tailrace.errors import TailraceError
from tailrace.export.diagnose import ACTIONS, diagnose
from tailrace.export.objects import STORE_ERRORS, code_of, is_precondition, status_of
from tailrace.export.policy import ACCESS_CHECK
from tailrace.export.probe import ProbeObject
from tailrace.state.delivery import Capabilities, Cause, Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# `settings`: the destination names a bucket or region that is not so, or an endpoint that can't be.
Outcome = Literal["ok", "missing", "not tried", "temporary", "operator", "settings", "unknown"]

_REGION_HEADER = "x-amz-bucket-region"


class Step(msgspec.Struct, frozen=True):
    """One probe: the call, the action it needs, and how it ended. `cause` holds the evidence."""

    call: str
    action: str
    outcome: Outcome
    cause: Cause | None = None


class Verification(msgspec.Struct, frozen=True):
    """What the probes found. Only a destination that `passed` may become active.

    `region` is the bucket's own, None where the store did not say. `left_behind` names what
    could not be removed again.
    """

    destination_id: int
    passed: bool
    missing_actions: tuple[str, ...]
    steps: tuple[Step, ...]
    capabilities: Capabilities
    region: str | None
    left_behind: tuple[str, ...]

    @property
    def cause(self) -> Cause | None:
        """The first reason for not passing, the customer's before others."""
        causes = [step.cause for step in self.steps if step.cause and step.outcome != "ok"]
        return next((cause for cause in causes if cause.kind == "access"), next(iter(causes), None))


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


def verify(destination: Destination, clients: ClientSource) -> Verification:
    """Run all probes that can be run, in order, and collect every failure."""
    probes = _Probes(destination, clients)
    probes.head_bucket()
    probes.list_prefix()
    written = probes.put()
    probes.get()
    aborted = probes.multipart()
    capabilities = Capabilities(
        conditional_put=written and probes.put_if_absent(),
        conditional_complete=written and aborted and probes.complete_if_absent(),
        checksums=written and aborted and probes.checksums(),
    )
    probes.delete()
    missing = [step.action for step in probes.steps if step.outcome == "missing"]
    return Verification(
        destination_id=destination.id,
        passed=all(step.outcome == "ok" for step in probes.steps),
        missing_actions=tuple(dict.fromkeys(missing)),
        steps=tuple(probes.steps),
        capabilities=capabilities,
        region=probes.region,
        left_behind=tuple(probes.left_behind),
    )


class _Probes:
    """The probes of one run and what they found."""

    def __init__(self, destination: Destination, clients: ClientSource) -> None:
        self.steps: list[Step] = []
        self.region: str | None = None
        self._destination = destination
        self._clients = clients
        self.left_behind: list[str] = []
        self._object = ProbeObject(destination.bucket, access_check_key(destination))
        self._client: S3Client | None = None
        self._ended = False
        self._written = False

    def head_bucket(self) -> None:
        try:
            self._client = self._clients.of(self._destination)
        except _NO_CLIENT as error:
            cause = diagnose(error, self._destination)
            self._note("HeadBucket", "settings", cause)
            self._ended = True
            return
        self._try("HeadBucket", lambda client: client.head_bucket(Bucket=self._destination.bucket))
        self._compare_region()

    def list_prefix(self) -> None:
        def call(client: S3Client) -> object:
            bucket, prefix = self._destination.bucket, self._destination.prefix
            return client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)

        self._try("ListObjectsV2", call)
        refused = self.steps[-1].cause
        if self._ended and refused and self.steps[0].outcome in {"missing", "unknown"}:
            # A HEAD's 403 or 400 has no body that could have said it: the credentials were refused
            # there.
            self.steps[0] = Step("HeadBucket", self.steps[0].action, _outcome(refused), refused)

    def put(self) -> bool:
        self._written = self._try("PutObject", self._object.put) is not None
        return self._written

    def get(self) -> None:
        if not self._written:
            self._note("GetObject", "not tried")
            return

        self._try("GetObject", self._object.get)

    def multipart(self) -> bool:
        upload_id = self._try("CreateMultipartUpload", self._object.create)
        if upload_id is None:
            self._note("UploadPart", "not tried")
            self._note("AbortMultipartUpload", "not tried")
            return False
        put = self._try("UploadPart", lambda client: self._object.part(client, upload_id))
        aborted = self._try(
            "AbortMultipartUpload", lambda client: self._object.abort(client, upload_id)
        )
        if aborted is None:
            self.left_behind.append(f"the multipart upload {upload_id} of {self._object.url}")
        return put is not None and aborted is not None

    def put_if_absent(self) -> bool:
        """Say whether the store refuses a put onto the object that is there."""
        return self._refuses("PutObject", self._object.put_if_absent, is_precondition)

    def complete_if_absent(self) -> bool:
        """Say whether the store refuses to complete an upload onto the object that is there."""
        return self._refuses(
            "CompleteMultipartUpload", self._object.complete_if_absent, is_precondition
        )

    def checksums(self) -> bool:
        """Say whether the store refuses bytes and uploads whose CRC32 is wrong."""
        return self._refuses(
            "PutObject", self._object.put_wrongly_summed, _is_checksum_refusal
        ) and self._refuses(
            "CompleteMultipartUpload", self._object.complete_wrongly_summed, _is_checksum_refusal
        )

    def delete(self) -> None:
        if not self._written:
            self._note("DeleteObject", "not tried")
        elif self._try("DeleteObject", self._object.delete) is None:
            self.left_behind.append(self._object.url)

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

    def _refuses(
        self,
        call: str,
        do: Callable[[S3Client], Any],
        refused: Callable[[ClientError], bool],
    ) -> bool:
        """Say whether the store refuses as it should; only trouble on the way is a failed step."""
        assert self._client is not None
        try:
            do(self._client)
        except ClientError as error:
            if refused(error):
                return True
            # A store that lacks a feature answers 400 or 501 to it; anything else is trouble.
            if status_of(error) not in {400, 405, 501}:
                self._failed(call, error)
        except STORE_ERRORS as error:
            self._failed(call, error)
        return False

    def _failed(self, call: str, error: Exception) -> None:
        key = self._object.key if call not in {"HeadBucket", "ListObjectsV2"} else None
        cause = diagnose(error, self._destination, key)
        # botocore refuses a bucket name that can't be, before anything is sent.
        outcome = "settings" if isinstance(error, ParamValidationError) else _outcome(cause)
        self._note(call, outcome, cause)
        if call == "HeadBucket" and isinstance(error, ClientError):
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self.region = headers.get(_REGION_HEADER)
        # Without a role there are no credentials to go on with.
        gone = cause.code == "NoSuchBucket" or cause.call == "AssumeRole"
        gone = gone or isinstance(error, _UNREACHABLE)
        refused = outcome in {"operator", "settings"} and cause.code not in _REGION_CODES
        self._ended = self._ended or gone or refused

    def _compare_region(self) -> None:
        if self.region is None or self.region == self._clients_region():
            return
        if self.steps[0].outcome == "ok" or self.steps[0].outcome == "missing":
            self._note("HeadBucket", "settings", self._region_cause(self.region))
        # The other steps still tell which permissions are missing there.
        with contextlib.suppress(*_NO_CLIENT):  # where the store names no real region
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
            fix=f"Set the destination's region to {region}.",
            call="HeadBucket",
        )

    def _note(self, call: str, outcome: Outcome, cause: Cause | None = None) -> None:
        action = ACTIONS[call]
        if outcome == "missing" and cause is not None and cause.permission is not None:
            action = cause.permission
        self.steps.append(Step(call, action, outcome, cause))


# An endpoint or region of which botocore or our own rules make no client.
_NO_CLIENT = (TailraceError, BotoCoreError, ValueError)
# Nothing would answer the other probes either, each after its whole time-out.
_UNREACHABLE = (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError)
_REGION_CODES = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}


def _outcome(cause: Cause) -> Outcome:
    if cause.kind == "access":
        return "missing" if cause.permission is not None else "settings"
    if cause.kind in {"temporary", "operator"}:
        return "temporary" if cause.kind == "temporary" else "operator"
    return "unknown"


def _is_checksum_refusal(error: ClientError) -> bool:
    # AWS says BadDigest, others InvalidRequest or a code of their own; with another right sum the
    # same request passed before.
    return status_of(error) == 400 and code_of(error) not in {"NotImplemented", "InvalidArgument"}
