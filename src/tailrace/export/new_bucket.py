"""How a bucket is made that exports go to, as a line for a shell; and which regions there are."""

from __future__ import annotations

import functools
import shlex

import botocore.session
from botocore.loaders import create_loader

from tailrace.export.client import DEFAULT_REGION, sealed_session

_PARTITIONS = ("aws", "aws-us-gov", "aws-cn")


def create_bucket_line(bucket: str, region: str, endpoint_url: str | None) -> str:
    """Return the AWS CLI's line that creates a bucket; names are the caller's to check."""
    words = ["aws", "s3api", "create-bucket", "--bucket", bucket, "--region", region]
    # The first region is the only one that must not be named as a constraint.
    if region != DEFAULT_REGION and endpoint_url is None:
        words += ["--create-bucket-configuration", f"LocationConstraint={region}"]
    if endpoint_url is not None:
        words += ["--endpoint-url", endpoint_url]
    return shlex.join(words)


@functools.cache
def regions() -> tuple[str, ...]:
    """Return the regions of Amazon S3 that are known here, in every partition."""
    session: botocore.session.Session = sealed_session(create_loader())
    found = [
        name
        for partition in _PARTITIONS
        for name in session.get_available_regions("s3", partition_name=partition)
    ]
    return tuple(sorted(found))
