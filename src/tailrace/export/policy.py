"""The bucket policy that an export needs: one list of actions, as JSON and as AWS CLI lines.

The command line, pages, mails and the demo's bucket print or use what is made here.
"""

from __future__ import annotations

import re
import shlex
import zlib
from collections.abc import Collection
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from tailrace.errors import BadRequest
from tailrace.export.bucket_names import check_bucket_name, check_region

Partition = Literal["aws", "aws-cn", "aws-us-gov"]
Scope = Literal["bucket", "objects", "access check"]

ACCESS_CHECK = "_tailrace/access-check-"

_PARTITIONS: dict[str, Partition] = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
_ACCOUNT = re.compile(r"[0-9]{12}")
# Accounts of AWS have twelve digits; tenants of other stores have names, or none.
_PRINCIPAL = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):iam::(?P<account>[A-Za-z0-9_-]{0,64}):"
    r"(?P<who>root|(?:user|role)/[A-Za-z0-9+=,.@_/-]{1,575})"
)
_SESSION = re.compile(
    r"arn:(?P<partition>[a-z-]+):sts::(?P<account>[0-9]{12}):assumed-role/(?P<role>[^/]+)/.+"
)


class Grant(msgspec.Struct, frozen=True):
    """One action that the policy allows, on what, and why an export needs it."""

    action: str
    scope: Scope
    why: str


GRANTS = (
    Grant(
        "s3:ListBucket",
        "bucket",
        "Finds the bucket and its region, and compares it with a manual export. Without it S3 "
        "answers 403 instead of 404 for an object that is not there yet.",
    ),
    Grant(
        "s3:PutObject",
        "objects",
        "Puts the hourly files, manifests and markers, large files in parts.",
    ),
    Grant(
        "s3:GetObject",
        "objects",
        "Tells by size and SHA-256 whether an object is there already, so that none is put twice "
        "and none of yours is replaced.",
    ),
    Grant(
        "s3:AbortMultipartUpload",
        "objects",
        "Gives up an upload that was interrupted, so that its parts are not stored at your cost.",
    ),
    Grant(
        "s3:DeleteObject",
        "access check",
        "Removes the small object that the access check writes. Nothing else can be deleted.",
    ),
)

# For a bucket whose objects are encrypted with a KMS key; they belong into the key's policy.
KEY_GRANTS = (
    ("kms:GenerateDataKey", "Encrypts each object that is put."),
    ("kms:Decrypt", "Reads objects back, and puts the parts of large ones together."),
)
KEY_ACTIONS = tuple(action for action, _ in KEY_GRANTS)

_SIDS: dict[Scope, str] = {
    "bucket": "TailraceBucket",
    "objects": "TailraceObjects",
    "access check": "TailraceAccessCheck",
}


class Place(msgspec.Struct, frozen=True):
    """Which bucket and prefix a principal is let into; made by `place`.

    `kms_key` is the ARN of the key under which objects are put there; empty: none is named.
    """

    bucket: str
    prefix: str
    region: str | None
    endpoint_url: str | None
    principal: str
    partition: Partition
    kms_key: str = ""


class Statement(msgspec.Struct, frozen=True, rename="pascal"):
    """One statement of a policy; its JSON is AWS's."""

    sid: str
    effect: Literal["Allow"]
    principal: dict[Literal["AWS"], str]
    action: tuple[str, ...]
    resource: str


class Policy(msgspec.Struct, frozen=True, rename="pascal"):
    """A policy document; its JSON is AWS's."""

    version: Literal["2012-10-17"]
    statement: tuple[Statement, ...]


def place(
    *,
    bucket: str,
    prefix: str,
    principal: str,
    region: str | None = None,
    endpoint_url: str | None = None,
    kms_key: str | None = None,
) -> Place:
    """Return a place; raise `BadRequest` that names what is wrong with bucket, region or principal.

    Prefix and key were checked before; keys of other stores than Amazon's have no policy. The
    region tells the partition, and an account's number becomes the ARN of the account.
    """
    partition = partition_of(region, endpoint_url)
    return Place(
        bucket=check_bucket_name(bucket),
        prefix=prefix,
        region=None if region is None else check_region(region, endpoint_url),
        endpoint_url=endpoint_url,
        principal=check_principal(principal, partition, ours=is_amazon(endpoint_url)),
        partition=partition,
        kms_key=kms_key if kms_key is not None and is_amazon(endpoint_url) else "",
    )


def partition_of(region: str | None, endpoint_url: str | None = None) -> Partition:
    """Return the partition that ARNs of a region name; other stores than Amazon's use `aws`."""
    if region is None or not is_amazon(endpoint_url):
        return "aws"
    return next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")


def check_principal(principal: str, partition: Partition, *, ours: bool = True) -> str:
    """Return the ARN of a user, a role or an account; raise `BadRequest` for anything else.

    `ours`: the bucket is on Amazon S3, whose accounts have twelve digits.
    """
    if _ACCOUNT.fullmatch(principal):
        return f"arn:{partition}:iam::{principal}:root"
    session = _SESSION.fullmatch(principal)
    if session is not None:
        raise _no_principal(
            principal,
            "it is a session, which ends. Give the role itself, which without a path is "
            f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}",
        )
    found = _PRINCIPAL.fullmatch(principal)
    if found is None:
        raise _no_principal(
            principal,
            "write the ARN of a role or user, such as arn:aws:iam::111122223333:role/tailrace, or "
            "the twelve digits of an account",
        )
    if ours and not _ACCOUNT.fullmatch(found["account"]):
        raise _no_principal(principal, "an AWS account has twelve digits")
    if found["partition"] != partition:
        raise _no_principal(
            principal,
            f"it is in the partition {found['partition']} and the bucket's region in {partition}, "
            "and no policy reaches across. Use a principal, or an access key, of that partition",
        )
    return principal


def bucket_policy(at: Place) -> Policy:
    """Return the whole policy: what an export needs, and nothing else."""
    return Policy("2012-10-17", statements(at, {grant.action for grant in GRANTS}))


def statements(at: Place, actions: Collection[str]) -> tuple[Statement, ...]:
    """Return the statements that allow some of the actions, such as those that are missing.

    Actions that no export needs are left out. The Sid differs for each prefix and principal,
    because a policy may hold the statements of several destinations.
    """
    mark = f"{zlib.crc32(f'{at.prefix} {at.principal}'.encode()):08x}"
    made = []
    for scope, sid in _SIDS.items():
        allowed = tuple(
            grant.action for grant in GRANTS if grant.scope == scope and grant.action in actions
        )
        if allowed:
            principal: dict[Literal["AWS"], str] = {"AWS": at.principal}
            made.append(Statement(sid + mark, "Allow", principal, allowed, _resource(at, scope)))
    return tuple(made)


def key_statement(at: Place) -> Statement:
    """Return what belongs into the policy of the KMS key, if objects are encrypted with one.

    In a key's policy the asterisk means that key.
    """
    sid = f"TailraceKey{zlib.crc32(at.principal.encode()):08x}"
    return Statement(sid, "Allow", {"AWS": at.principal}, KEY_ACTIONS, "*")


def resources_below(scope: Scope, prefix: str) -> str:
    """Return the pattern of keys that a scope covers; empty for the bucket itself."""
    if scope == "bucket":
        return ""
    return f"{prefix}*" if scope == "objects" else f"{prefix}{ACCESS_CHECK}*"


def as_json(policy: Policy | Statement | tuple[Statement, ...]) -> str:
    """Return JSON as it is pasted into a console, indented, with its last line ended."""
    return msgspec.json.format(msgspec.json.encode(policy), indent=2).decode() + "\n"


def as_cli_lines(at: Place) -> str:
    """Return lines for a shell that give the bucket the policy with the AWS CLI.

    They write the policy to a file of this folder and put it only where the bucket has none yet:
    the call replaces a whole policy, and with it what others were allowed.
    """
    options = [f"--bucket {at.bucket}"]
    if at.region is not None:
        options.append(f"--region {at.region}")
    if at.endpoint_url is not None:
        options.append(f"--endpoint-url {shlex.quote(at.endpoint_url)}")
    common, file = " ".join(options), f"tailrace-policy-{at.bucket}.json"
    why = "\n".join(f"# {grant.action}: {grant.why}" for grant in GRANTS)
    return f"""\
# Lets {at.principal} export to s3://{at.bucket}/{at.prefix}
{why}
cat > {file} <<'POLICY'
{as_json(bucket_policy(at))}POLICY
before=$(aws s3api get-bucket-policy {common} --query Policy --output text 2>&1) || true
case $before in
*NoSuchBucketPolicy*)
  aws s3api put-bucket-policy {common} --policy file://{file} ;;
*)
  printf 'Nothing was changed. The bucket has a policy, or it could not be read:\\n%s\\n' "$before"
  echo 'Add its statements to {file}, then:'
  echo {shlex.quote(f"aws s3api put-bucket-policy {common} --policy file://{file}")} ;;
esac
"""


def _resource(at: Place, scope: Scope) -> str:
    arn = f"arn:{at.partition}:s3:::{at.bucket}"
    below = resources_below(scope, at.prefix)
    return f"{arn}/{below}" if below else arn


def is_amazon(endpoint_url: str | None) -> bool:
    """Tell whether a store is Amazon S3 itself."""
    if endpoint_url is None:
        return True
    try:
        host = urlsplit(endpoint_url).hostname or ""
    except ValueError:
        # No address at all, as while it is being typed: not Amazon's either.
        return False
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _no_principal(principal: str, reason: str) -> BadRequest:
    return BadRequest(f"Cannot use the principal {principal[:120]!r}: {reason}.")
